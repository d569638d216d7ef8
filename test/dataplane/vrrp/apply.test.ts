import { describe, expect, it } from 'vitest';
import type { Operation } from '../../../src/dataplane/dataplane.ts';
import { vrrpDataplane } from '../../../src/dataplane/vrrp/index.ts';
import { parseOp, type VrrpOp } from '../../../src/dataplane/vrrp/ops.ts';
import { canonical, NO_ROWS } from '../../../src/dataplane/vrrp/rows.ts';
import { fromSnapshot, toSnapshot } from '../../../src/dataplane/vrrp/snapshot.ts';
import type { DesiredState } from '../../../src/model/desired-state.ts';
import { FakeKeepalived } from '../../fakes/keepalived.ts';
import { ip } from '../addresses/fixtures.ts';
import { announcing, options } from './fixtures.ts';

const NEVER = new AbortController().signal;
const WEB = { address: '10.10.0.1' };
const DNS = { address: '10.10.0.2', service: 'net/dns' };
const ONE_GROUP = options({ groups: 1 });

class Bench {
  readonly keepalived = new FakeKeepalived();
  readonly dataplane = vrrpDataplane(this.keepalived, ONE_GROUP);

  /** Makes it as `desired` wants it. @returns what was done and what was refused */
  async sync(
    desired: DesiredState,
  ): Promise<{ readonly done: readonly string[]; readonly refused: readonly string[] }> {
    const { dataplane } = this;
    const plan = dataplane.plan(await dataplane.observe(NEVER), dataplane.project(desired).rows);
    const reports = [];
    for (const ops of [plan.make, plan.break]) reports.push(await dataplane.apply(ops, NEVER));
    return {
      done: reports.flatMap(({ acknowledged }) => acknowledged).map(shown),
      refused: reports.flatMap(({ refused }) => refused).map(({ message }) => message),
    };
  }
}

function shown({ op, subject, detail }: Operation): string {
  return `${op} ${subject} ${detail}`.trim();
}

describe('the VRRP dataplane', () => {
  it('writes, loads, and has nothing more to do', async () => {
    const bench = new Bench();
    expect(await bench.sync(announcing([WEB]))).toEqual({
      done: [
        'setMain keepalived configuration',
        'addInstance VRRP group 1 IPv4 10.10.0.1',
        'addProcess keepalived',
      ],
      refused: [],
    });
    expect([...bench.keepalived.present.keys()].sort()).toEqual([
      'keepalived.conf',
      'loaded',
      'svcplane_4_1.conf',
      'svcplane_4_1.track',
    ]);
    expect(await bench.sync(announcing([WEB]))).toEqual({ done: [], refused: [] });
    expect(bench.keepalived.loads).toBe(1);
  });

  it('adds an address to its group with one load', async () => {
    const bench = new Bench();
    await bench.sync(announcing([WEB]));
    const { done } = await bench.sync(announcing([WEB, DNS]));
    expect(done).toEqual(['setInstance VRRP group 1 IPv4 +10.10.0.2']);
    expect(bench.keepalived.loaded?.get('svcplane_4_1.conf')).toContain('10.10.0.2/32');
    expect(bench.keepalived.loads).toBe(2);
  });

  it('lets go of a group without a load', async () => {
    const bench = new Bench();
    const local = (localEndpoints: number) => announcing([{ ...WEB, localEndpoints }]);
    await bench.sync(local(1));
    expect((await bench.sync(local(0))).done).toEqual(
      ['setAbility VRRP group 2 IPv4 may hold: yes → no'].map((text) =>
        text.replace('group 2', expectGroup(bench)),
      ),
    );
    expect(bench.keepalived.loads).toBe(1);
    const tracks = [...bench.keepalived.present].filter(([file]) => file.endsWith('.track'));
    expect(tracks.map(([, text]) => text)).toEqual(['1\n']);
  });

  it('changes nothing where keepalived does not take it, and says what it says', async () => {
    const bench = new Bench();
    await bench.sync(announcing([WEB]));
    const before = new Map(bench.keepalived.present);
    bench.keepalived.objection = '(svcplane_4_1) Unknown interface!';
    const { done, refused } = await bench.sync(announcing([WEB, DNS]));
    expect([done, refused]).toEqual([
      [],
      ['VRRP group 1 IPv4: keepalived does not take its configuration: (svcplane_4_1) Unknown interface!'],
    ]);
    expect(new Map([...bench.keepalived.present].sort())).toEqual(new Map([...before].sort()));
    bench.keepalived.objection = undefined;
    expect((await bench.sync(announcing([WEB, DNS]))).refused).toEqual([]);
  });

  it('loads what an earlier process has written and not loaded, and starts what has ended', async () => {
    const bench = new Bench();
    await bench.sync(announcing([WEB]));
    bench.keepalived.present.delete('loaded');
    expect((await bench.sync(announcing([WEB]))).done).toEqual(['addProcess keepalived']);
    bench.keepalived.loaded = undefined;
    expect((await bench.sync(announcing([WEB]))).done).toEqual(['addProcess keepalived']);
    expect(bench.keepalived.loads).toBe(3);
  });

  it('takes everything away with the last address', async () => {
    const bench = new Bench();
    await bench.sync(announcing([WEB]));
    expect((await bench.sync(announcing([]))).done).toEqual([
      'deleteProcess keepalived',
      'deleteInstance VRRP group 1 IPv4',
      'deleteMain keepalived configuration',
    ]);
    expect([bench.keepalived.loaded, bench.keepalived.present.size]).toEqual([undefined, 0]);
  });

  it.each([
    { name: 'has ended', loaded: undefined },
    { name: 'has not read the last of it', loaded: new Map<string, string>() },
  ])('takes everything away where keepalived $name', async ({ loaded }) => {
    const bench = new Bench();
    await bench.sync(announcing([WEB]));
    bench.keepalived.loaded = loaded;
    bench.keepalived.present.delete('loaded');
    bench.keepalived.objection = 'there is no configuration';
    expect((await bench.sync(announcing([]))).refused).toEqual([]);
    expect([bench.keepalived.loaded, bench.keepalived.present.size]).toEqual([undefined, 0]);
  });

  it('keeps the address of a Service that is gone while its connections drain', async () => {
    const { dataplane } = new Bench();
    const both = dataplane.project(announcing([WEB, DNS])).rows;
    const one = dataplane.project(announcing([WEB])).rows;
    const draining = new Set([ip('10.10.0.2')]);
    const kept = dataplane.retainAddresses?.(both, one, draining) ?? NO_ROWS;
    expect(canonical(kept)).toBe(canonical(both));
    const none = dataplane.project(announcing([])).rows;
    const alone = dataplane.retainAddresses?.(both, none, draining) ?? NO_ROWS;
    expect(toSnapshot(alone).announcements).toMatchObject([{ addresses: ['10.10.0.2'] }]);
    expect(dataplane.retainAddresses?.(one, none, draining)).toEqual(NO_ROWS);
  });

  it('reads its operations back, and refuses what is none', () => {
    const { dataplane } = new Bench();
    const rows = dataplane.project(announcing([WEB])).rows;
    const ops: readonly VrrpOp[] = [...dataplane.plan(NO_ROWS, rows).make, ...dataplane.teardown(rows).break];
    expect(ops.map((op) => parseOp(JSON.parse(JSON.stringify(op))))).toEqual(ops);
    expect(parseOp({ op: 'addAddress' })).toBeUndefined();
    expect(() => parseOp({ ...ops[1], instance: '../../etc/passwd' })).toThrow(
      /addInstance: instance: .*no name/,
    );
  });

  it('plans against a recorded snapshot as against the rows', () => {
    const { dataplane } = new Bench();
    const wanted = dataplane.project(announcing([WEB, DNS])).rows;
    expect(fromSnapshot(toSnapshot(wanted), wanted)).toEqual(wanted);
    const recorded = fromSnapshot(toSnapshot(dataplane.project(announcing([WEB])).rows), wanted);
    expect(dataplane.plan(recorded, wanted).make.map(({ op }) => op)).toEqual(['setInstance']);
    expect(fromSnapshot({}, wanted)).toEqual(NO_ROWS);
  });
});

/** As operations name it. */
function expectGroup({ keepalived }: Bench): string {
  const [file = ''] = [...keepalived.present.keys()].filter((name) => name.endsWith('.track'));
  return `group ${/_(\d+)\./.exec(file)?.[1]}`;
}
