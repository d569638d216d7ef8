import { FAMILIES } from './dual-stack.ts';
import { podsOf } from './lab-plan.ts';
import { type Cell, CLIENTS, requestsOf } from './matrix.ts';
import { endpointPods, PROTOCOLS, TARGET_PORT } from './services.ts';
import type { ExchangeOptions, Outcome, Request, Sockets } from './sockets.ts';
import type { Lab } from './topology.ts';

/** What became of a cell's connections. */
export interface CellResult {
  readonly cell: Cell;
  readonly outcomes: readonly Outcome[];
}

/** Opens a server of each protocol on both endpoints, and makes all who will meet known to each other. */
export async function serveEndpoints(lab: Lab, sockets: Sockets, timeoutMs: number): Promise<void> {
  for (const pod of Object.values(endpointPods(lab))) {
    for (const family of FAMILIES) {
      for (const protocol of PROTOCOLS) {
        sockets.serve({ ...pod, address: pod.addresses[family], port: TARGET_PORT, protocol });
      }
    }
  }
  // Few packets wait for a neighbour whose link address is not known yet, the others are lost.
  await sockets.exchange(neighbours(lab), { timeoutMs });
}

/** One question from everybody to everybody else, which nobody answers. */
function neighbours(lab: Lab): readonly Request[] {
  const all = [lab.outside, ...lab.nodes, ...podsOf(lab)];
  return all.flatMap(({ namespace }) =>
    [...lab.nodes, ...podsOf(lab)].flatMap(({ addresses }) =>
      FAMILIES.map((family): Request => {
        return { namespace, destination: addresses[family], port: 9, protocol: 'UDP' };
      }),
    ),
  );
}

/**
 * Makes the connections of all cells, those of one client side by side. Those of one cell are the only ones to their
 * virtual server meanwhile, so that round robin does not give them the turns of others.
 */
export async function runCells(
  lab: Lab,
  sockets: Sockets,
  cells: readonly Cell[],
  options: ExchangeOptions,
): Promise<readonly CellResult[]> {
  const results: CellResult[] = [];
  for (const client of CLIENTS) {
    const ofClient = cells.filter((cell) => cell.client === client);
    const requests = ofClient.map((cell) => requestsOf(lab, cell));
    const outcomes = [...(await sockets.exchange(requests.flat(), options))];
    results.push(
      ...ofClient.map((cell, i) => ({ cell, outcomes: outcomes.splice(0, requests[i]?.length ?? 0) })),
    );
  }
  return results;
}
