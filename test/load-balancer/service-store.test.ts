import { describe, expect, it } from 'vitest';
import { ServiceStore } from '../../src/load-balancer/service-store.ts';
import { serviceObject } from './build.ts';

const at = (version: number, ...ingress: string[]) =>
  serviceObject({ name: 'front', ingress, metadata: { resourceVersion: String(version) } });
const addressesIn = (store: ServiceStore) =>
  store.services.get('web/front')?.facts.ingress.map(({ address }) => address);

function listed(...objects: object[]): ServiceStore {
  const store = new ServiceStore();
  const list = store.beginList();
  for (const object of objects) list.put({ ...object });
  list.finish();
  return store;
}

describe('ServiceStore', () => {
  it('believes no event of the watch that is older than the answer to a write', () => {
    const store = listed(at(5));
    store.putOwn(at(9, '10.10.0.1'));
    store.put('Service', at(7));
    expect(addressesIn(store)).toEqual(['10.10.0.1']);
    store.remove('Service', at(8));
    expect(addressesIn(store)).toEqual(['10.10.0.1']);
    store.put('Service', at(12, '10.10.0.2'));
    expect(addressesIn(store)).toEqual(['10.10.0.2']);
    store.remove('Service', at(13));
    expect(addressesIn(store)).toBeUndefined();
  });

  it('keeps what was written while a list was under way, and nothing else that is newer than the list', () => {
    const store = listed(at(50, '10.10.0.9'));
    const list = store.beginList();
    list.put(at(5));
    store.putOwn(at(60, '10.10.0.1'));
    list.finish();
    expect(addressesIn(store)).toEqual(['10.10.0.1']);
    // As of a server that was restored from a backup.
    const restored = store.beginList();
    restored.put(at(4, '10.10.0.3'));
    restored.finish();
    expect(addressesIn(store)).toEqual(['10.10.0.3']);
  });

  it('changes nothing before a list is whole, and forgets what is not in it', () => {
    const store = listed(at(5, '10.10.0.1'));
    const list = store.beginList();
    expect(addressesIn(store)).toEqual(['10.10.0.1']);
    list.finish();
    expect(store.services.size).toBe(0);
  });
});
