/**
 * The Postgres room: serves one target to clients, terminating the protocol on both sides. `createPostgresTarget`
 * is what the agent calls; everything else here is behind it.
 */
import type { TargetDeps, TargetProtocol, TargetServer } from "../../session.ts";
import { AnalysisCache } from "./analysis.ts";
import { answerQuestion } from "./ask/ask.ts";
import { keepCatalogue } from "./catalogue/connect.ts";
import type { CatalogueKeeper } from "./catalogue/keeper.ts";
import { isLocal, parseAddress, PostgresTargetConfig } from "./config.ts";
import { CancelKeys } from "./keys.ts";
import { needsSecondLogin } from "./masking/second-login.ts";
import { serveConnection, type ServedTarget } from "./serve.ts";
import type { ClassifiedLogin } from "./split-serve.ts";
import { loadSqlParser } from "./sql/analyse.ts";
import type { Reachable } from "./target/reach.ts";

export { PostgresTargetConfig } from "./config.ts";

/** The name that clients are told to log in with. It means nothing: who they are, the tunnel says. */
const CLIENT_USER = "sallyport";

const needsBy =
  (keeper: CatalogueKeeper): ClassifiedLogin["needs"] =>
  (statement, rules, searchPath) => {
    if (rules.classes.length === 0) return "no";
    const catalogue = keeper.current(rules);
    return catalogue === undefined ? "unknown" : needsSecondLogin(statement, catalogue, searchPath);
  };

function loginOf(
  config: PostgresTargetConfig,
  entry: Pick<PostgresTargetConfig, "user" | "password">,
  deps: TargetDeps,
): Reachable["login"] {
  const credential = entry.password === undefined ? undefined : deps.credential(entry.password);
  return {
    user: entry.user,
    methods: config.auth ?? (credential === undefined ? ["none"] : ["scram-sha-256"]),
    password: credential === undefined ? undefined : () => credential.read(),
    protocol: config.max_protocol,
  };
}

export async function createPostgresTarget(config: PostgresTargetConfig, deps: TargetDeps): Promise<TargetServer> {
  const address = parseAddress(config.address);
  if (address === null) throw new Error(`target ${deps.name}: cannot read the address ${JSON.stringify(config.address)}`);
  if (config.tls === "disable" && !isLocal(address)) {
    deps.log.warn({ target: deps.name }, "tls: disable: the target's data crosses the network unencrypted");
  }
  const reach: Reachable = {
    config,
    connect: {
      address,
      tls: config.tls,
      ca: config.ca === undefined ? undefined : deps.resolvePath(config.ca),
      serverName: config.server_name,
    },
    login: loginOf(config, config, deps),
  };
  const analyse = await loadSqlParser();
  const catalogue = keepCatalogue({ ...reach, name: deps.name }, analyse, deps.log);
  const { classified_login: second } = config;
  const target: ServedTarget = {
    ...reach,
    name: deps.name,
    analysis: new AnalysisCache(analyse),
    catalogue,
    keys: new CancelKeys(),
    classified: second === undefined ? null : { reach: { ...reach, login: loginOf(config, second, deps) }, needs: needsBy(catalogue) },
    admitting: new Map(),
  };
  return {
    ask: (question, context) => answerQuestion(target, question, context),
    serve: (client, open, session) => serveConnection(target, client, open, session),
    masks: true,
    ready: { database: config.database, user: CLIENT_USER },
  };
}

export const postgresProtocol: TargetProtocol<PostgresTargetConfig> = { config: PostgresTargetConfig, create: createPostgresTarget };
