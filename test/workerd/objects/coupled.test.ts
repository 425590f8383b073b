/** The coupling suite against `coupled`. */
import { couplingSuite } from "./coupling-suite.ts";

couplingSuite("coupled");
