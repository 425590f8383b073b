/**
 * Cedar in workerd: `compileBundle` for the Worker and its objects. workerd compiles the module ahead and instantiates
 * it here, once an isolate.
 */
import * as cedar from "@cedar-policy/cedar-wasm/web";
// By path: the package's exports do not name the file, and wrangler's CompiledWasm rule goes by the path.
import * as wasm from "../node_modules/@cedar-policy/cedar-wasm/web/cedar_wasm_bg.wasm";
import { createPolicyCompiler } from "../policy/index.ts";
import type { CompileBundle } from "../policy/types.ts";

// The file's own declarations speak of an instance's exports; workerd gives the compiled module as the default export.
cedar.initSync({ module: (wasm as unknown as { readonly default: WebAssembly.Module }).default });

export const compileBundle: CompileBundle = createPolicyCompiler(cedar);
