declare function report(losses: readonly number[], predictions: unknown): void
export = report
