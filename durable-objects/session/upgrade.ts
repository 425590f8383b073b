/**
 * The hop from the Worker to a SessionDO: requests built from nothing, so that no header of a client ever reaches
 * the object. What they carry was verified by the Worker, except the two secrets, which the object checks itself.
 */
import { DIAL_HEADER, RESUME_HEADER } from "../../protocol/api.ts";

const ORIGIN = "https://session.internal";
const AGENT_HEADER = "x-sallyport-agent";
const SITE_HEADER = "x-sallyport-site";

const upgrade = (path: string, headers: Record<string, string>): Request =>
  new Request(`${ORIGIN}${path}`, { headers: { upgrade: "websocket", ...headers } });

/** A runner's first socket, already authenticated and admitted. */
export const connectUpgrade = (): Request => upgrade("/connect", {});

/** A runner's redial; `secret` is what it presented. */
export const resumeUpgrade = (secret: string): Request => upgrade("/resume", { [RESUME_HEADER]: secret });

/** An agent's dial-back: the agent and its site are verified, `secret` is what it presented. */
export const dialBackUpgrade = (agent: string, site: string, secret: string): Request =>
  upgrade("/agent", { [AGENT_HEADER]: agent, [SITE_HEADER]: site, [DIAL_HEADER]: secret });

export type SessionUpgrade =
  | { readonly kind: "connect" }
  | { readonly kind: "resume"; readonly secret: string }
  | { readonly kind: "agent"; readonly agent: string; readonly site: string; readonly secret: string };

/** null: not one of the three. */
export function parseUpgrade(request: Request): SessionUpgrade | null {
  if (request.headers.get("upgrade") !== "websocket") return null;
  const header = (name: string): string => request.headers.get(name) ?? "";
  switch (new URL(request.url).pathname) {
    case "/connect":
      return { kind: "connect" };
    case "/resume":
      return { kind: "resume", secret: header(RESUME_HEADER) };
    case "/agent":
      return { kind: "agent", agent: header(AGENT_HEADER), site: header(SITE_HEADER), secret: header(DIAL_HEADER) };
    default:
      return null;
  }
}
