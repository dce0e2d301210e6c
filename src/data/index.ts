export { type Cell, type Column, type Columns, fromArrays, fromGenerator, fromItems, fromTensors } from './arrays'
export { type BinaryField, type BinaryOptions, type BinaryValue, fromBinary } from './binary'
export { type Batch, type Batched, type Stacked, scalarOf, stack, toTensors } from './collate'
export type { ColumnType, CsvOptions } from './csv'
export {
  type CsvDatasetOptions,
  type CsvExample,
  type CsvRecord,
  fromCsv,
  type SupervisedCsvOptions,
} from './csvdataset'
export { type BatchOptions, Dataset, type Parts, type ShuffleOptions } from './dataset'
export { IndexedDataset } from './indexed'
export { DatasetIterator, type DatasetState, type IterateOptions } from './iterator'
export { fromJsonLines, type JsonLinesOptions } from './jsonl'
export type { ArrayDType, NdArray, Nested, TypedArray } from './ndarray'
export type { MapContext, MapFunction, MapOptions } from './operators'
export type { Label, LabelsOf, SplitOptions } from './partition'
export * as preprocessing from './preprocessing'
export {
  ColumnTransformer,
  LabelEncoder,
  MinMaxScaler,
  OneHotEncoder,
  Pipeline,
  type Preprocessor,
  type PreprocessorClass,
  RobustScaler,
  SimpleImputer,
  StandardScaler,
  Transformer,
} from './preprocessing'
export { Random } from './random'
export type { SampleOptions } from './sampling'
export { readCsv, Table, type TableColumn } from './table'
export type { WorkerMapOptions } from './workers'
