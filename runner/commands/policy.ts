/** `sallyport policy lint|test|explain|push|rollback|versions|pull` */
import type { Command } from "commander";
import { connectGateway, wholeNumber, withGateway, withPage, type GatewayOptions, type PageOptions } from "../options.ts";
import { BundleRow, page } from "../../protocol/api.ts";
import { listing, when } from "../print.ts";

export interface PushOptions extends GatewayOptions {
  readonly note?: string;
  readonly expectActive?: number;
  readonly allowLockout?: boolean;
  readonly bootstrap?: boolean;
}

export interface ExplainOptions {
  readonly identity: string;
  readonly approved?: string[];
  readonly environment?: string;
  readonly json?: boolean;
}

const DIRECTORY = "the bundle's directory";

export function declare(command: Command): void {
  command
    .command("lint")
    .description("Check a bundle: syntax, types, weak matches, grants on nothing, and more.")
    .argument("[directory]", DIRECTORY, "sallyport")
    .option("--json", "machine-readable output")
    .action(async (directory: string, options: { readonly json?: boolean }) => {
      process.exitCode = await (await import("../policy.ts")).lint(directory, options.json === true);
    });
  command
    .command("test")
    .description("Run the bundle's own tests (tests/*.yaml).")
    .argument("[directory]", DIRECTORY, "sallyport")
    .option("--json", "machine-readable output")
    .action(async (directory: string, options: { readonly json?: boolean }) => {
      process.exitCode = await (await import("../policy.ts")).test(directory, options.json === true);
    });
  command
    .command("explain")
    .description("Say which policies decide a request, and which nearly did.")
    .argument("<target>", "the target, or gateway")
    .argument("<action>", "such as pg:delete")
    .argument("[resource]", "such as public.orders, public.f() or [email]")
    .requiredOption("--identity <name>", "who asks")
    .option("--directory <path>", DIRECTORY, "sallyport")
    .option("--approved <group...>", "groups that have approved it")
    .option("--environment <name>", "the target's environment, as its agent announces it")
    .option("--json", "machine-readable output")
    .addHelpText("after", "\nExample:\n  sallyport policy explain orders-db pg:drop public.orders --identity orders-ci")
    .action(
      async (target: string, action: string, resource: string | undefined, options: ExplainOptions & { readonly directory: string }) => {
        process.exitCode = await (await import("../policy.ts")).explainRequest(options.directory, { target, action, resource }, options);
      },
    );
  withGateway(command.command("push").description("Publish a bundle; agents and live sessions decide with it within a second."))
    .argument("[directory]", DIRECTORY, "sallyport")
    .option("--note <text>", "why, for the list of versions")
    .option("--expect-active <version>", "refuse if another version is active (0: if any is)", wholeNumber(0, 1e9))
    .option("--allow-lockout", "accept a bundle that lets nobody publish the next one")
    .option("--bootstrap", "with SALLYPORT_BOOTSTRAP_SECRET: the first push of a new gateway")
    .action(async (directory: string, options: PushOptions) => {
      process.exitCode = await (await import("../policy.ts")).push(directory, options);
    });
  withGateway(command.command("rollback").description("Publish the files of an earlier version again, as a new version."))
    .argument("<version>", "the version to go back to", wholeNumber(1, 1e9))
    .option("--note <text>", "why, for the list of versions")
    .option("--expect-active <version>", "refuse if another version is active", wholeNumber(0, 1e9))
    .option("--allow-lockout", "accept a bundle that lets nobody publish the next one")
    .action(async (version: number, options: PushOptions) => {
      process.exitCode = await (await import("../policy.ts")).rollback(version, options);
    });
  withPage(withGateway(command.command("versions").description("Published versions, newest first."))).action(
    async (options: GatewayOptions & PageOptions) => {
      const { limit, cursor } = options;
      const rows = await connectGateway(options).request("/v1/bundles", page(BundleRow), { query: { limit, cursor } });
      listing(
        rows,
        options.json === true,
        ["VERSION", "ACTIVE", "PUBLISHED", "BY", "DIGEST", "NOTE"],
        (row) => [
          String(row.version),
          row.active ? "yes" : "",
          when(row.published_at),
          row.published_by,
          row.digest.slice(0, 12),
          row.note ?? "",
        ],
        "no bundle was published yet",
      );
    },
  );
}
