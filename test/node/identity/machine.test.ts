/** The rules of an identity's object that time decides: lives of credentials, retries, alarms (durable-objects/identity/machine.ts). */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  CLEANUP_MS,
  firstLife,
  isSettled,
  judgeAdmission,
  judgeSingleUse,
  nextAlarm,
  nextLife,
  OPENING_MS,
  retryAt,
} from "../../../durable-objects/identity/machine.ts";
import { CREDENTIAL_MAX_AGE_S, CREDENTIAL_TTL_S } from "../../../protocol/limits.ts";

describe("credentials", () => {
  test("no chain of renewals outlives the first credential's line (property)", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: CREDENTIAL_TTL_S * 1000 }), { maxLength: 60 }), (pauses) => {
        let now = 1_000_000;
        const end = now + CREDENTIAL_MAX_AGE_S * 1000;
        let life = firstLife(now);
        for (const pause of pauses) {
          now += pause;
          life = nextLife(life.ends_at, now);
          expect(life.expires_at).toBeLessThanOrEqual(end);
          expect(life.expires_at - now).toBeLessThanOrEqual(CREDENTIAL_TTL_S * 1000);
        }
      }),
    );
  });
});

describe("single use", () => {
  test("seen goes before full", () => {
    expect(judgeSingleUse(true, 10, 1, 10)).toBe("replayed");
    expect(judgeSingleUse(false, 10, 1, 10)).toBe("too_many");
    expect(judgeSingleUse(false, 9, 2, 10)).toBe("too_many");
    expect(judgeSingleUse(false, 8, 2, 10)).toBe("ok");
  });
});

test("revoked goes before known and before room", () => {
  expect(judgeAdmission(true, true, 0, 10)).toBe("revoked");
  expect(judgeAdmission(false, true, 10, 10)).toBe("ok");
  expect(judgeAdmission(false, false, 10, 10)).toBe("too_many");
});

describe("ending sessions", () => {
  test("nothing to end is believed only once the session must have opened", () => {
    expect(isSettled("ended", 0, 0)).toBe(true);
    expect(isSettled("nothing", 1000, 1000 + OPENING_MS - 1)).toBe(false);
    expect(isSettled("nothing", 1000, 1000 + OPENING_MS)).toBe(true);
    expect(isSettled("failed", 0, OPENING_MS * 100)).toBe(false);
  });

  test("retries begin within a second and thin out to half a minute", () => {
    const delays = Array.from({ length: 10 }, (_, n) => retryAt(n + 1, 0));
    expect(delays).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000]);
    expect(retryAt(5000, 0)).toBe(30_000);
  });

  test("the alarm is for the earliest retry, else for cleaning, else none", () => {
    expect(nextAlarm(500, true, 1000)).toBe(1000);
    expect(nextAlarm(1500, false, 1000)).toBe(1500);
    expect(nextAlarm(null, true, 1000)).toBe(1000 + CLEANUP_MS);
    expect(nextAlarm(null, false, 1000)).toBeNull();
  });
});
