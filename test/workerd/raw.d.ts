/** Vite's `?raw`: a file of the repository as text, for tests that read a page of docs/. */
declare module "*?raw" {
  const text: string;
  export default text;
}
