import { describe, expect, it } from 'vitest';
import { parseSocklbOp } from '../../../src/dataplane/socklb/parse-op.ts';
import { PLAN_CASES } from './plan-cases.ts';

const [ADD] = PLAN_CASES;

describe('parseSocklbOp()', () => {
  it.each([
    undefined,
    null,
    'addSocketService',
    { op: 'addVirtualServer' },
    { op: 7 },
  ])('leaves %j to others', (value) => {
    expect(parseSocklbOp(value)).toBeUndefined();
  });

  it('names the field that is wrong', async () => {
    const world = await ADD?.world();
    const [op] =
      world?.dataplane.plan(await world.observe(), ADD?.wanted ?? (await world.observe())).make ?? [];
    const altered = (change: (text: string) => string) => JSON.parse(change(JSON.stringify(op)));
    expect(() => parseSocklbOp(altered((text) => text.replace('"weight":1', '"weight":-1')))).toThrow(
      /^Cannot read operation addSocketService: service\.backends\.0\.weight: /,
    );
    expect(() => parseSocklbOp(altered((text) => text.replace('10.244.1.22', '010.244.1.22')))).toThrow(
      'Cannot read operation addSocketService: service.backends.0.address: not an IP address in canonical text',
    );
    expect(() => parseSocklbOp(altered((text) => text.replace('"id":1', '"id":0')))).toThrow(/service\.id/);
  });
});
