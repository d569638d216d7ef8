import type { AnnouncingReport } from './cli/doctor-announcing.ts';
import type { Ability } from './cli/finding.ts';
import type { Config } from './config.ts';
import { announcementWords } from './dataplane/vrrp/announcements.ts';
import { KeepalivedClient } from './dataplane/vrrp/client.ts';
import type { IpAddress } from './model/address.ts';
import type { DesiredState } from './model/desired-state.ts';

export const openKeepalived = (directory: string, program: string) =>
  new KeepalivedClient(directory, program);

/** Who announces an address, since when, and why; see CliContext. */
export function announcementWordsOf({ vrrp }: Config, desired: DesiredState, address: IpAddress) {
  const keepalived = openKeepalived(vrrp.directory, vrrp.program);
  return announcementWords(desired, vrrp, address, () => keepalived.states());
}

/** What announcing needs of this host; null where nothing is to be announced. */
export async function inspectAnnouncing(
  { mode, program, directory, interface: name }: Config['vrrp'],
  links: readonly { readonly name: string; readonly isUp: boolean }[],
  netRaw: Ability,
): Promise<AnnouncingReport | null> {
  if (mode === 'off') return null;
  const link = links.find((each) => each.name === name);
  const keepalived = await keepalivedAbility(openKeepalived(directory, program));
  return {
    program,
    keepalived,
    netRaw,
    link: { name, state: link ? (link.isUp ? 'up' : 'down') : 'absent' },
  };
}

async function keepalivedAbility(client: KeepalivedClient): Promise<AnnouncingReport['keepalived']> {
  try {
    return { outcome: 'supported', version: await client.version() };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const wasEnded = error instanceof Error && 'killed' in error && error.killed === true;
    return { outcome: wasEnded ? 'unknown' : 'unsupported', reason };
  }
}
