export type { MatrixInput, Value, ValueColumn } from './columns'
export { type Category, LabelEncoder, OneHotEncoder, type OneHotEncoderOptions } from './encoders'
export { SimpleImputer, type SimpleImputerOptions } from './imputer'
export type { ColumnStep, DataRecord, RecordInput } from './pipeline'
export { ColumnTransformer, Pipeline } from './pipeline'
export { fromJSON, type Preprocessor, type PreprocessorClass } from './registry'
export {
  MinMaxScaler,
  type MinMaxScalerOptions,
  RobustScaler,
  type RobustScalerOptions,
  StandardScaler,
  type StandardScalerOptions,
} from './scalers'
export { type SavedStep, Transformer } from './transformer'
