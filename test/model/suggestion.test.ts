import { describe, expect, it } from 'vitest';
import { suggestion } from '../../src/model/suggestion.ts';

const KNOWN = ['scheduler', 'strictARP', 'guard', 'guard.maxDeleteShare', 'log.level'];

describe('suggestion()', () => {
  it.each([
    ['schedular', 'scheduler'],
    ['strictArp', 'strictARP'],
    ['maxDeleteShare', 'guard.maxDeleteShare'],
    ['guard.maxDeletesShare', 'guard.maxDeleteShare'],
    ['logs.level', 'log.level'],
  ])('%s may mean %s', (name, meant) => {
    expect(suggestion(name, KNOWN)).toBe(`: did you mean ${meant}?`);
  });

  it.each(['', 'foo', 'replicas'])('"%s" is like nothing', (name) => {
    expect(suggestion(name, KNOWN)).toBe('');
  });
});
