import type { Listed, StatusDocument } from './status-document.ts';

/** The document as people read it: one fact a line, what it is in the first column. */
export function renderStatus(status: StatusDocument): string {
  const nowMs = Date.parse(status.now);
  const ago = (time: string) => `${durationText(nowMs - Date.parse(time))} ago`;
  const rows: readonly (readonly [string, readonly string[]])[] = [
    ['node', [status.node]],
    [
      'version',
      [`${status.program.version}, up for ${durationText(nowMs - Date.parse(status.program.startedAt))}`],
    ],
    ['ready', [readyText(status)]],
    [
      'last sync',
      [status.lastSync ? `${ago(status.lastSync.begunAt)}: ${lastSyncText(status.lastSync)}` : 'none yet'],
    ],
    ['complete', [status.lastCompleteSyncAt ? ago(status.lastCompleteSyncAt) : 'never yet']],
    ['queue', [status.queuedSince ? `oldest change came ${ago(status.queuedSince)}` : 'empty']],
    ['audit', [auditText(status, ago)]],
    ['API', apiTexts(status, nowMs)],
    [
      'serving',
      [
        `${status.virtualServers} virtual servers, ${status.realServers} real servers, ${status.draining} draining`,
      ],
    ],
    ['sockets', [socketsText(status)]],
    ['VRRP', status.announcements.map((each) => announcementText(each, ago))],
    ['ours', [countsText(status.ledger)]],
    ['foreign', listedTexts(status.foreign, (name) => name)],
    ['rejected', listedTexts(status.rejected, ({ subject, reason }) => `${subject}: ${reason}`)],
    ['guard', [guardText(status, nowMs)]],
    ['failing', failingTexts(status, nowMs)],
    ['listening', status.listenFailures.length > 0 ? status.listenFailures : ['everywhere it should']],
  ];
  return rows
    .flatMap(([name, texts]) => texts.map((text, i) => `${(i === 0 ? name : '').padEnd(10)} ${text}\n`))
    .join('');
}

function readyText({ ready, checks }: StatusDocument): string {
  const ill = checks.filter(({ ok }) => !ok).map(({ name, reason }) => `${name}: ${reason}`);
  return [ready ? 'yes' : 'no', ...ill].join('; ');
}

function lastSyncText(sync: NonNullable<StatusDocument['lastSync']>): string {
  const done = `${sync.added} added, ${sync.changed} changed, ${sync.deleted} deleted`;
  const undone = sync.complete ? '' : ', not complete';
  return `${sync.kind}, ${sync.durationMs} ms: ${done}${undone} (${sync.reasons.join(', ')})`;
}

function auditText({ lastAudit }: StatusDocument, ago: (time: string) => string): string {
  if (!lastAudit) return 'none yet';
  const { at, repaired, missing, altered, stale, foreign } = lastAudit;
  const drift = `${missing} missing, ${altered} altered, ${stale} stale, ${foreign} foreign`;
  return `${ago(at)}: ${drift}${repaired || missing + altered + stale === 0 ? '' : ', not repaired'}`;
}

function apiTexts({ api }: StatusDocument, nowMs: number): readonly string[] {
  if (api.length === 0) return ['not asked: files are followed'];
  const width = Math.max(...api.map(({ kind }) => kind.length));
  return api.map(({ kind, state, since, reason }) => {
    const why = reason === '' ? '' : `: ${reason}`;
    return `${kind.padEnd(width)}  ${state} for ${durationText(nowMs - Date.parse(since))}${why}`;
  });
}

function socketsText({ sockets }: StatusDocument): string {
  if (!sockets) return 'not known yet';
  const { mode, outcome, cgroup, reason, served, left } = sockets;
  if (outcome === 'used') return `${mode}, at ${cgroup}: ${served} frontends served, ${left} left to IPVS`;
  return outcome === 'refused' ? `${mode}, FAILED: ${reason}` : `${mode}, left to IPVS: ${reason}`;
}

const HOLDER_TEXTS = {
  here: 'here',
  elsewhere: 'at another node',
  barred: 'not here, for nothing of it is served here',
} as const;

function announcementText(
  { family, group, addresses, holder, since, order }: StatusDocument['announcements'][number],
  ago: (time: string) => string,
): string {
  const where = holder === null ? 'not known yet' : HOLDER_TEXTS[holder];
  const when = since === null ? '' : `, since ${since} (${ago(since)})`;
  return `${family} group ${group}: ${where}${when}; in order ${order.join(', ')}: ${addresses.join(' ')}`;
}

function guardText({ guard }: StatusDocument, nowMs: number): string {
  if (!guard) return 'holds nothing back';
  const end = guard.until === null ? '' : `, lets go in ${durationText(Date.parse(guard.until) - nowMs)}`;
  return `HELD for ${durationText(nowMs - Date.parse(guard.since))}${end}: ${guard.reason}`;
}

function failingTexts({ failures, retryAt }: StatusDocument, nowMs: number): readonly string[] {
  if (failures.count === 0) return ['nothing'];
  const retry = retryAt === null ? '' : `, tried again in ${durationText(Date.parse(retryAt) - nowMs)}`;
  return [`${failures.count}${retry}`, ...listedTexts(failures, (text) => text).slice(1)];
}

function countsText(counts: Readonly<Record<string, number>>): string {
  const texts = Object.entries(counts).flatMap(([kind, count]) => (count > 0 ? `${count} ${kind}` : []));
  return texts.length > 0 ? texts.join(', ') : 'nothing';
}

/** The number, then a line for each that is listed. */
function listedTexts<T>({ count, first }: Listed<T>, text: (each: T) => string): readonly string[] {
  if (count === 0) return ['none'];
  const more = count > first.length ? [`… and ${count - first.length} more`] : [];
  return [`${count}`, ...first.map(text), ...more];
}

const UNITS = [
  { ms: 86_400_000, name: 'd' },
  { ms: 3_600_000, name: 'h' },
  { ms: 60_000, name: 'min' },
  { ms: 1000, name: 's' },
] as const;

/** In the two largest units that it has: `2 d 3 h`, `12 s`, `40 ms`. */
export function durationText(ms: number): string {
  const parts: string[] = [];
  let restMs = Math.max(0, Math.round(ms));
  for (const unit of UNITS) {
    const count = Math.floor(restMs / unit.ms);
    restMs -= count * unit.ms;
    if (count > 0) parts.push(`${count} ${unit.name}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.length > 0 ? parts.join(' ') : `${restMs} ms`;
}
