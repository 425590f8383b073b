/**
 * The hop from the Worker to a SiteDO: an agent's control socket. Built from nothing, so that no header of a client
 * reaches the object; every value was verified by the Worker.
 */
const AGENT_HEADER = "x-sallyport-agent";
const NAME_HEADER = "x-sallyport-agent-name";
const SITE_HEADER = "x-sallyport-site";
const GATEWAY_HEADER = "x-sallyport-gateway";

export interface ControlFacts {
  readonly agent: string;
  readonly name: string;
  readonly site: string;
  /** Public origin of the gateway, as the agent reached it. */
  readonly gateway: string;
}

export const controlUpgrade = ({ agent, name, site, gateway }: ControlFacts): Request =>
  new Request("https://site.internal/control", {
    headers: { upgrade: "websocket", [AGENT_HEADER]: agent, [NAME_HEADER]: name, [SITE_HEADER]: site, [GATEWAY_HEADER]: gateway },
  });

export function parseControlUpgrade(request: Request): ControlFacts | null {
  const header = (name: string): string => request.headers.get(name) ?? "";
  const facts = { agent: header(AGENT_HEADER), name: header(NAME_HEADER), site: header(SITE_HEADER), gateway: header(GATEWAY_HEADER) };
  const complete = facts.agent !== "" && facts.name !== "" && facts.site !== "";
  return request.headers.get("upgrade") === "websocket" && complete ? facts : null;
}
