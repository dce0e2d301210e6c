export type { Callback, Training } from './callback'
export * from './callbacks'
export { History } from './history'
export { createProgress, type Logs, type Progress, type ProgressOptions } from './progress'
export type {
  Bundle,
  CompileOptions,
  EvaluateOptions,
  Examples,
  FitOptions,
  PerOutput,
  PredictOptions,
  TrainingBatch,
} from './types'
