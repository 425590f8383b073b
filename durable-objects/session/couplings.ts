/** Which coupling a gateway uses: `SALLYPORT_COUPLING` in wrangler.toml. Unknown values are refused at start. */
import type { Env } from "../env.ts";
import { NativeCoupling } from "./coupled.ts";
import type { Coupling } from "./coupling.ts";
import { RelayCoupling } from "./relay.ts";

export function makeCoupling(kind: Env["SALLYPORT_COUPLING"], ctx: DurableObjectState): Coupling {
  switch (kind) {
    case "coupled":
      return new NativeCoupling(ctx);
    case "relay":
      return new RelayCoupling(ctx);
    default:
      throw new Error(`SALLYPORT_COUPLING is ${JSON.stringify(kind)}; write "coupled" or "relay"`);
  }
}
