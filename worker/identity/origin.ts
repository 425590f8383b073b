/**
 * The gateway's public origin: what agents' tokens are for and what DPoP proofs name. Configured, or, where it is not,
 * the request's own: then a caller chooses it with the Host header, which is fine on loopback and where the
 * platform routes by host, and nowhere else.
 */
export function gatewayOrigin(request: Request, env: { readonly SALLYPORT_ORIGIN: string }): string {
  return new URL(env.SALLYPORT_ORIGIN === "" ? request.url : env.SALLYPORT_ORIGIN).origin;
}

/** The request's URI under the public origin, with no query. */
export const publicUrl = (request: Request, env: { readonly SALLYPORT_ORIGIN: string }): string =>
  gatewayOrigin(request, env) + new URL(request.url).pathname;
