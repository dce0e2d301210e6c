import { AnnealError } from '../../errors'
import { describe } from '../ndarray'
import { LabelEncoder, OneHotEncoder } from './encoders'
import { SimpleImputer } from './imputer'
import { type ColumnStep, ColumnTransformer, Pipeline } from './pipeline'
import { SavedFields } from './saved'
import { MinMaxScaler, RobustScaler, StandardScaler } from './scalers'
import { Transformer } from './transformer'

/** Anything that is fitted to data and saved with a model. */
export type Preprocessor = Transformer | ColumnTransformer | LabelEncoder

/** Each kind that can be read back. A saved model names kinds, never code. */
const readers = new Map<string, (saved: unknown) => Preprocessor>([
  ['SimpleImputer', SimpleImputer.fromJSON],
  ['StandardScaler', StandardScaler.fromJSON],
  ['MinMaxScaler', MinMaxScaler.fromJSON],
  ['RobustScaler', RobustScaler.fromJSON],
  ['OneHotEncoder', OneHotEncoder.fromJSON],
  ['LabelEncoder', LabelEncoder.fromJSON],
  ['Pipeline', saved => new Pipeline(new SavedFields(saved).array('steps').map(transformerFrom))],
  ['ColumnTransformer', saved => new ColumnTransformer(new SavedFields(saved).array('steps').map(columnStepFrom))],
])

/** The class of a step, as {@link fromJSON} can be told to expect it. */
export type PreprocessorClass<P extends Preprocessor> = abstract new (...args: never[]) => P

/**
 * Rebuilds a preprocessing step from what its `toJSON` gave; with `expected`, as one of that class.
 *
 * @throws AnnealError `ERR_FORMAT` for a kind that is not known or another than expected, or a field that is broken
 */
export function fromJSON(saved: unknown): Preprocessor
export function fromJSON<P extends Preprocessor>(saved: unknown, expected: PreprocessorClass<P>): P
export function fromJSON(saved: unknown, expected?: PreprocessorClass<Preprocessor>): Preprocessor {
  const { kind } = new SavedFields(saved)
  const read = readers.get(kind)
  if (!read) {
    throw new AnnealError(
      'ERR_FORMAT',
      `preprocessing: expected a step of kind ${[...readers.keys()].join(', ')}, got ${describe(kind)}`,
    )
  }
  const step = read(saved)
  if (expected === undefined || step instanceof expected) return step
  throw new AnnealError('ERR_FORMAT', `preprocessing: expected a saved ${expected.name}, got a ${kind}`)
}

function transformerFrom(saved: unknown): Transformer {
  const step = fromJSON(saved)
  if (step instanceof Transformer) return step
  throw new AnnealError(
    'ERR_FORMAT',
    `preprocessing: expected a transformer of columns within a step, got ${step.kind}`,
  )
}

function columnStepFrom(saved: unknown): ColumnStep {
  const fields = new SavedFields(saved)
  const transformer = fields.get('transformer')
  return {
    columns: fields.texts('columns'),
    transformer: transformer === 'passthrough' ? transformer : transformerFrom(transformer),
  }
}
