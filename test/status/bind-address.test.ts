import { describe, expect, test } from 'vitest';
import { parseBindAddress } from '../../src/status/bind-address.ts';

describe('parseBindAddress()', () => {
  test.each([
    { text: '127.0.0.1:10249', place: { host: '127.0.0.1', port: 10249 } },
    { text: '[::1]:10249', place: { host: '::1', port: 10249 } },
    { text: ':10249', place: { host: null, port: 10249 } },
    { text: '0.0.0.0:10256', place: { host: null, port: 10256 } },
    { text: '[::]:10256', place: { host: null, port: 10256 } },
    { text: '', place: null },
    { text: '127.0.0.1', place: undefined },
    { text: '::1:10249', place: undefined },
    { text: '[127.0.0.1]:10249', place: undefined },
    { text: 'localhost:10249', place: undefined },
    { text: '127.0.0.1:0', place: undefined },
    { text: '127.0.0.1:65536', place: undefined },
    { text: '127.0.0.1:http', place: undefined },
  ])('$text', ({ text, place }) => {
    expect(parseBindAddress(text)).toEqual(place);
  });
});
