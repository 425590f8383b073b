/** Repeats an attempt until it does not throw: for what happens soon, at no time that a test may assert. */
export async function eventually<T>(attempt: () => Promise<T> | T, { tries = 100, pauseMs = 100 } = {}): Promise<T> {
  for (let left = tries; ; left -= 1) {
    try {
      return await attempt();
    } catch (error) {
      if (left <= 1) throw error;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}
