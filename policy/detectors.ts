/**
 * Names of the detectors that masking.yaml may use. What each finds is tunnel-agent/masking/detectors.ts; the names are
 * here so that a bundle is checked where it is written.
 */

/** In the order of preference where two find the same characters. */
export const DETECTOR_CLASSES = ["private-key", "jwt", "token", "url-password", "email", "card", "iban", "ssn"] as const;
export type DetectorClass = (typeof DETECTOR_CLASSES)[number];
