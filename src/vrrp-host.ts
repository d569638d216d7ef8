import type { AnnouncingReport } from './cli/doctor-announcing.ts';
import type { Ability } from './cli/finding.ts';
import type { Config } from './config.ts';
import { KeepalivedClient } from './dataplane/vrrp/client.ts';

/** What announcing needs of this host; null where nothing is to be announced. */
export async function inspectAnnouncing(
  { mode, program, directory, interface: name }: Config['vrrp'],
  links: readonly { readonly name: string; readonly isUp: boolean }[],
  netRaw: Ability,
): Promise<AnnouncingReport | null> {
  if (mode === 'off') return null;
  const link = links.find((each) => each.name === name);
  const keepalived = await keepalivedAbility(new KeepalivedClient(directory, program));
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
