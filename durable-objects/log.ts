/**
 * The objects' log: one JSON object a line, so that nothing in a value can forge a line (GW-22). Never a secret,
 * never a statement. `alarm` marks what an operator must look at.
 */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

const line = (event: string, fields: LogFields): string => JSON.stringify({ event, ...fields });

export const logInfo = (event: string, fields: LogFields): void => console.log(line(event, fields));
export const logWarning = (event: string, fields: LogFields): void => console.warn(line(event, fields));
export const logAlarm = (event: string, fields: LogFields): void => console.error(line(event, { alarm: true, ...fields }));

/** The message of a thrown thing, capped; for logs only. */
export const reasonOf = (thrown: unknown): string => String(thrown instanceof Error ? thrown.message : thrown).slice(0, 512);
