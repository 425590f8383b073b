/**
 * How SessionDO joins a runner's socket and an agent's: one interface, two implementations (env.SALLYPORT_COUPLING).
 * Neither reads a byte of what passes. A close of one side, with its code, reaches the other; an abnormal end of
 * one side ends the other abnormally or with `SERVICE_RESTART`, which both mean: redial and resume.
 */

/** The ends to hand out in the two 101 answers. */
export interface JoinedEnds {
  readonly runner: WebSocket;
  readonly agent: WebSocket;
}

export interface Coupling {
  /** Generation of the coupling that this instance was born with (hibernation keeps sockets), or null. */
  found(): number | null;
  join(generation: number): JoinedEnds;
  /** Ends the old coupling so that both sides redial. May end this instance, and then never resolves. */
  drop(): Promise<void>;
  /** Ends all sockets for good. `reason` is an error code. May end this instance, and then never resolves. */
  cut(reason: string): Promise<void>;
  /** The runtime's events of accepted sockets; the generation that has now ended, or null. */
  message(socket: WebSocket, data: string | ArrayBuffer): number | null;
  closed(socket: WebSocket, code: number, reason: string): number | null;
}

/** RFC 6455 section 7.4 and the IANA registry. */
export const SERVICE_RESTART = 1012;
export const TRY_AGAIN_LATER = 1013;
/** Private use (4000–4999): the session is over; a redial is answered with the reason. */
export const SESSION_OVER = 4410;
