import { describe, expect, it } from 'vitest';
import {
  eventOf,
  guardHeld,
  healthCheckPortTaken,
  portTaken,
  rejectedServices,
  seriesPatch,
  started,
} from '../../src/cluster/events.ts';

const NOW_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 67);
const rejected = (reason = 'externalIP 192.0.2.1 is not allowed') =>
  rejectedServices([{ subject: 'Service web/front', reason }]).slice(0, 1);

describe('rejectedServices()', () => {
  it('is one for each Service and reason, and none for other objects', () => {
    const occurrences = rejectedServices([
      { subject: 'Service web/front', reason: 'a' },
      { subject: 'Service web/front', reason: 'b' },
      { subject: 'EndpointSlice web/front-1', reason: 'c' },
      { subject: 'sysctl net.ipv4.ip_forward', reason: 'd' },
    ]);
    expect(occurrences.map(({ subject, reason, note }) => ({ subject, reason, note }))).toEqual(
      ['a', 'b'].map((note) => ({
        subject: { kind: 'Service', namespace: 'web', name: 'front' },
        reason: 'SvcplaneRejected',
        note,
      })),
    );
  });
});

describe('eventOf()', () => {
  it('is what events.k8s.io/v1 asks for', () => {
    const [occurrence] = rejected();
    expect(occurrence && eventOf(occurrence, 'n0', 'u1', NOW_MS)).toEqual({
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: expect.stringMatching(/^front\.[0-9a-f]{16}$/), namespace: 'web' },
      eventTime: '2026-01-02T03:04:05.067000Z',
      reportingController: 'svcplane',
      reportingInstance: 'n0',
      type: 'Warning',
      reason: 'SvcplaneRejected',
      action: 'SyncServices',
      note: 'externalIP 192.0.2.1 is not allowed',
      regarding: { apiVersion: 'v1', kind: 'Service', namespace: 'web', name: 'front', uid: 'u1' },
    });
  });

  it('of a Node is in namespace default, and has its name for a uid', () => {
    expect(eventOf(started('n0'), 'n0', '', NOW_MS)).toMatchObject({
      type: 'Normal',
      reason: 'Starting',
      metadata: { namespace: 'default' },
      regarding: { apiVersion: 'v1', kind: 'Node', name: 'n0', uid: 'n0' },
    });
  });

  it('has one name on all nodes where all would tell the same, and its own elsewhere', () => {
    const nameOn = (node: string, [occurrence] = rejected(), ms = NOW_MS) =>
      occurrence && eventOf(occurrence, node, 'u1', ms).metadata.name;
    expect(nameOn('n1', rejected(), NOW_MS + 1)).toBe(nameOn('n0'));
    expect(nameOn('n0', rejected('another'))).not.toBe(nameOn('n0'));
    const taken = [healthCheckPortTaken('web/front', 'port 30000 is taken')];
    expect(nameOn('n1', taken)).not.toBe(nameOn('n0', taken));
  });

  it('keeps names and notes within what the API server takes', () => {
    const long = { ...guardHeld(`n${'-.a'.repeat(84)}`, 'ä'.repeat(2000)) };
    const { metadata, note, regarding } = eventOf(long, 'n'.repeat(200), '', NOW_MS);
    expect(metadata.name.length).toBeLessThanOrEqual(253);
    expect(metadata.name).toMatch(
      /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?|[-.]+[a-z0-9])*$/,
    );
    expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1024);
    expect(note).toMatch(/^ä{500,}…$/);
    expect(regarding.name).toBe(long.subject.name);
  });

  it("uses kube-proxy's reasons where it has one", () => {
    expect(
      [
        started('n'),
        portTaken('n', 'health', 'x'),
        portTaken('n', 'metrics', 'x'),
        healthCheckPortTaken('a/b', 'x'),
      ].map(({ reason }) => reason),
    ).toEqual([
      'Starting',
      'FailedToStartProxierHealthcheck',
      'FailedToStartMetricServer',
      'FailedToStartServiceHealthcheck',
    ]);
  });
});

describe('seriesPatch()', () => {
  it('raises the count', () => {
    expect(seriesPatch(3, NOW_MS)).toEqual({
      series: { count: 3, lastObservedTime: '2026-01-02T03:04:05.067000Z' },
    });
  });
});
