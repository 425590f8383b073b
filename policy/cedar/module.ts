/**
 * The part of the Cedar module that this room uses. The module itself comes from outside: worker/cedar.ts
 * gives workerd's, cedar.node.ts gives Node's, so nothing here loads WebAssembly.
 */
import type * as Cedar from "@cedar-policy/cedar-wasm/web";

export type { Context, DetailedError, EntityJson, EntityUidJson, Expr, PolicyJson, TypeAndId } from "@cedar-policy/cedar-wasm/web";

export type CedarModule = Pick<
  typeof Cedar,
  "isAuthorized" | "policyToJson" | "policyToText" | "preparsePolicySet" | "statefulIsAuthorized" | "validate"
>;
