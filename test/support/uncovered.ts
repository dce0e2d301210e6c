/** Ops that golden values cannot cover, and where they are tested instead. */
export const uncovered: Record<string, string> = {}
