import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalSnapshot } from '../../src/snapshot/canonical.ts';
import { parseSnapshot, SnapshotError } from '../../src/snapshot/parse.ts';
import { renderJson } from '../../src/snapshot/render-json.ts';
import { snapshot } from './arbitraries.ts';
import { realServer, snapshotOf, virtualServer } from './build.ts';

const VALID = snapshotOf([virtualServer('10.0.0.1:80', { realServers: [realServer('10.1.0.1:80')] })]);

/** The JSON of VALID with one text in it replaced. */
function valid(from: string, to: string): string {
  const text = JSON.stringify(VALID);
  if (!text.includes(from)) throw new Error(`VALID has no ${from}`);
  return text.replace(from, to);
}

describe('parseSnapshot()', () => {
  it('is the inverse of renderJson()', () => {
    fc.assert(
      fc.property(snapshot, (a) => {
        expect(parseSnapshot(renderJson(a), 'a.json')).toEqual(canonicalSnapshot(a));
      }),
    );
  });

  it('ignores keys it does not know, and a byte order mark', () => {
    const text = `\uFEFF${valid('"weight":1', '"weight":1,"colour":"red"').replace('{', '{"newer":[1],')}`;
    expect(parseSnapshot(text, 'a.json')).toEqual(VALID);
  });

  it.each([
    { name: 'no JSON', text: '{"version":1,', problem: /^Cannot read snapshot a\.json: .*JSON/ },
    { name: 'empty text', text: '', problem: /^Cannot read snapshot a\.json: .*JSON/ },
    { name: 'no object', text: '42', problem: /: is not an object$/ },
    { name: 'another version', text: valid('"version":1', '"version":2'), problem: /: version: is not 1, / },
    {
      name: 'a missing field',
      text: valid('"weight":1,', ''),
      problem: /: virtualServers\[0\]\.realServers\[0\]\.weight: is missing$/,
    },
    {
      name: 'a weight below 0',
      text: valid('"weight":1', '"weight":-1'),
      problem: /realServers\[0\]\.weight: is not an integer from 0 to 2147483647$/,
    },
    {
      name: 'a port that is no integer',
      text: valid('"port":80', '"port":80.5'),
      problem: /virtualServers\[0\]\.port: is not an integer/,
    },
    {
      name: 'no address',
      text: valid('10.0.0.1', '10.0.0.256'),
      problem: /virtualServers\[0\]\.address: "10\.0\.0\.256" is not an IP address$/,
    },
    {
      name: 'an unknown protocol',
      text: valid('"TCP"', '"ICMP"'),
      problem: /protocol: is not one of TCP, UDP, SCTP$/,
    },
    {
      name: 'a list that is none',
      text: valid('"addresses":[]', '"addresses":{}'),
      problem: /: addresses: is not a list$/,
    },
    {
      name: 'neither address nor mark',
      text: valid('"10.0.0.1"', 'null'),
      problem: /virtualServers\[0\]: has to have either/,
    },
    {
      name: 'address and mark',
      text: valid('"port":80', '"firewallMark":1,"port":80'),
      problem: /virtualServers\[0\]: has to have either/,
    },
    {
      name: 'a virtual server twice',
      text: JSON.stringify({ ...VALID, virtualServers: [...VALID.virtualServers, ...VALID.virtualServers] }),
      problem: /: virtualServers: TCP 10\.0\.0\.1:80 appears twice$/,
    },
  ])('names file and field of $name, in one line', ({ text, problem }) => {
    const parse = () => parseSnapshot(text, 'a.json');
    expect(parse).toThrow(SnapshotError);
    expect(parse).toThrow(problem);
    expect(parse).not.toThrow('\n');
  });
});
