/**
 * How often trouble is made: `some` where tests are to be over soon, `all` where SVCPLANE_TROUBLE=all asks for the
 * whole number.
 */
export function inTrouble({ some, all }: { readonly some: number; readonly all: number }): number {
  return process.env.SVCPLANE_TROUBLE === 'all' ? all : some;
}
