/** The wire protocols that this agent speaks, by the word that agent.yaml uses. */
import type { Protocols } from "../config/load.ts";
import { postgresProtocol } from "./postgres/index.ts";

export const PROTOCOLS: Protocols = { postgres: postgresProtocol };
