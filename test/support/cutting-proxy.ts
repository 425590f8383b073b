/** A TCP proxy on loopback that cuts its connections when told: a network that fails, for the tests of resumption. */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export interface CuttingProxy {
  readonly port: number;
  /** Connections that are open now. */
  readonly open: number;
  /** Bytes carried so far, both ways. */
  readonly bytes: number;
  /** Resets every connection, as a broken network does. */
  cut(): number;
  /** While true, new connections are reset at once. */
  down: boolean;
  close(): Promise<void>;
}

export async function startCuttingProxy(target: { host: string; port: number }): Promise<CuttingProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  const state = { down: false, bytes: 0 };
  const server = createServer({ noDelay: true }, (client) => {
    if (state.down) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({ ...target, noDelay: true });
    const pair = [client, upstream] as const;
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of pair) {
      socket.on("error", end).on("close", end);
      socket.on("data", (chunk: Buffer) => {
        state.bytes += chunk.length;
      });
    }
    client.pipe(upstream);
    upstream.pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    get open() {
      return pairs.size;
    },
    get bytes() {
      return state.bytes;
    },
    get down() {
      return state.down;
    },
    set down(value: boolean) {
      state.down = value;
    },
    cut: () => {
      const count = pairs.size;
      for (const [client, upstream] of pairs) {
        client.resetAndDestroy();
        upstream.resetAndDestroy();
      }
      return count;
    },
    close: () =>
      new Promise((resolve) => {
        for (const [client, upstream] of pairs) {
          client.destroy();
          upstream.destroy();
        }
        server.close(() => resolve());
      }),
  };
}
