/** The part of Node's crypto that the Worker uses; workerd has it natively (`nodejs_compat`). */
declare module "node:crypto" {
  interface Hash {
    update(data: string | Uint8Array): Hash;
    digest(encoding: "hex"): string;
  }
  export function createHash(algorithm: "sha256"): Hash;
}
