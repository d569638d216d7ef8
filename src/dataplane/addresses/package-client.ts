/** What is used of the package `netlink`. */
export type NetlinkPackage = Awaited<ReturnType<typeof loadNetlinkPackage>>;

/** Without its messages for wireless links and the like, which take as long to load as all that is used. */
export async function loadNetlinkPackage() {
  const [constants, raw, structs, netlink, rt] = await Promise.all([
    import('netlink/dist/constants.js'),
    import('netlink/dist/raw.js'),
    import('netlink/dist/structs.js'),
    import('netlink/dist/netlink.js'),
    import('netlink/dist/rt/structs.js'),
  ]);
  return { ...constants, ...raw, ...structs, ...netlink, rt };
}
