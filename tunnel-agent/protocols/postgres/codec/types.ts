/**
 * Message type bytes of PostgreSQL's frontend/backend protocol 3 (manual section 55.7), by direction, and the request
 * codes that stand where a StartupMessage has its version.
 */
const code = (letter: string): number => letter.charCodeAt(0);

/** Frontend (client → server). */
export const F = {
  Bind: code("B"),
  Close: code("C"),
  CopyData: code("d"),
  CopyDone: code("c"),
  CopyFail: code("f"),
  Describe: code("D"),
  Execute: code("E"),
  Flush: code("H"),
  FunctionCall: code("F"),
  Parse: code("P"),
  /** Also SASLInitialResponse, SASLResponse, GSSResponse. */
  Password: code("p"),
  Query: code("Q"),
  Sync: code("S"),
  Terminate: code("X"),
} as const;

/** Backend (server → client). */
export const B = {
  Authentication: code("R"),
  BackendKeyData: code("K"),
  BindComplete: code("2"),
  CloseComplete: code("3"),
  CommandComplete: code("C"),
  CopyBothResponse: code("W"),
  CopyData: code("d"),
  CopyDone: code("c"),
  CopyInResponse: code("G"),
  CopyOutResponse: code("H"),
  DataRow: code("D"),
  EmptyQueryResponse: code("I"),
  ErrorResponse: code("E"),
  FunctionCallResponse: code("V"),
  NegotiateProtocolVersion: code("v"),
  NoData: code("n"),
  NoticeResponse: code("N"),
  NotificationResponse: code("A"),
  ParameterDescription: code("t"),
  ParameterStatus: code("S"),
  ParseComplete: code("1"),
  PortalSuspended: code("s"),
  ReadyForQuery: code("Z"),
  RowDescription: code("T"),
} as const;

export const PROTOCOL_3_0 = 3 << 16;
export const PROTOCOL_3_2 = (3 << 16) | 2;
export const CANCEL_REQUEST = (1234 << 16) | 5678;
export const SSL_REQUEST = (1234 << 16) | 5679;
export const GSSENC_REQUEST = (1234 << 16) | 5680;

/** For messages about a byte that has no name here. */
export function printType(type: number): string {
  return type > 0x20 && type < 0x7f ? `'${String.fromCharCode(type)}'` : `0x${type.toString(16).padStart(2, "0")}`;
}
