declare function report(losses: readonly number[], predictions: readonly unknown[]): void
export = report
