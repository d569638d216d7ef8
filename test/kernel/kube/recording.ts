import type { ApiConnection } from '../../../src/cluster/api-connection.ts';

/** What has gone over a connection. */
export interface Seen {
  /** The path of each request that is no watch. */
  readonly pages: string[];
  /** Those that the server has answered and not ended. */
  openWatches: number;
}

/** Notes what goes over it, and follows no fallbacks, which would lead past the proxy. */
export function recording(connection: ApiConnection, seen: Seen): ApiConnection {
  return {
    server: connection.server,
    request: (method, path, options) => {
      seen.pages.push(path);
      return connection.request(method, path, options);
    },
    async *stream(path, options) {
      let isOpen = false;
      try {
        for await (const batch of connection.stream(path, options)) {
          if (!isOpen) seen.openWatches += 1;
          isOpen = true;
          yield batch;
        }
      } finally {
        if (isOpen) seen.openWatches -= 1;
      }
    },
    useFallbacks: () => undefined,
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
}
