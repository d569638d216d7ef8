import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
import { errnoName, errnoOf, SysError } from '../../native-bindings/errno.ts';
import { ERRNO, errnoName as netlinkErrnoName } from '../../src/netlink/uapi/errno.ts';

describe('errnoName()', () => {
  test.each([
    [1, 'EPERM'],
    [11, 'EAGAIN'],
    [95, 'EOPNOTSUPP'],
    [105, 'ENOBUFS'],
    [524, 'ENOTSUPP'],
    [4095, 'errno 4095'],
  ])('errnoName(%d) is %s', (errno, name) => {
    expect(errnoName(errno)).toBe(name);
  });

  test('errnoName() and errnoOf() are inverse for every name that Node has', () => {
    for (const [name, errno] of Object.entries(constants.errno)) {
      expect(errnoOf(name)).toBe(errno);
      expect(errnoOf(errnoName(errno))).toBe(errno);
    }
  });

  test('errnoName() agrees with the names in src/netlink, which may not import it', () => {
    for (const errno of Object.values(ERRNO)) expect(netlinkErrnoName(errno)).toBe(errnoName(errno));
  });
});

describe('SysError', () => {
  test('SysError carries its parts as fields', () => {
    const cause = new Error('why');
    const error = new SysError('setsockopt SO_RCVBUF', 1, { cause });
    expect(error).toMatchObject({ syscall: 'setsockopt SO_RCVBUF', errno: 1, code: 'EPERM', cause });
    expect(error.message).toBe('setsockopt SO_RCVBUF: EPERM');
  });
});
