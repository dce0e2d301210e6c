import {
  ColumnTransformer,
  fromItems,
  LabelEncoder,
  MinMaxScaler,
  type NdArray,
  OneHotEncoder,
  Pipeline,
  preprocessing,
  RobustScaler,
  SimpleImputer,
  StandardScaler,
  Table,
} from 'anneal/data'
import { describe, expect, it } from 'vitest'

const { NaN: nan } = Number

function expectMatrix(matrix: NdArray, rows: number[][]): void {
  expect(matrix.shape).toEqual([rows.length, rows[0]!.length])
  const flat = rows.flat()
  matrix.data.forEach((value: number | bigint, i: number) => {
    if (Number.isNaN(flat[i]!)) expect(value).toBeNaN()
    else expect(value).toBeCloseTo(flat[i]!, 6)
  })
}

/** What a fresh process makes of the saved step. */
function reloaded<S extends preprocessing.Preprocessor>(step: S): S {
  const back = preprocessing.fromJSON(JSON.parse(JSON.stringify(step)))
  expect(back).not.toBe(step)
  return back as S
}

describe('StandardScaler', () => {
  it('centres and divides by the population deviation, leaving NaN alone', () => {
    // Column 0: mean 3, variance ((-2)² + 0 + 2²) / 3 = 8/3. Column 1 is constant.
    const x = [
      [1, 5],
      [3, 5],
      [nan, nan],
      [5, 5],
    ]
    const scaler = new StandardScaler().fit(x)
    const s = Math.sqrt(8 / 3)
    const expected = [
      [-2 / s, 0],
      [0, 0],
      [nan, nan],
      [2 / s, 0],
    ]
    expectMatrix(scaler.transform(x), expected)
    expectMatrix(reloaded(scaler).transform(x), expected)
    expectMatrix(scaler.inverseTransform(scaler.transform(x)), x)
  })

  it('stays exact for a small spread on a large mean', () => {
    const x = [[1e9], [1e9 + 1], [1e9 + 2]]
    expectMatrix(new StandardScaler().fitTransform(x), [[-Math.sqrt(1.5)], [0], [Math.sqrt(1.5)]])
    // 0.1 has no exact form: its constant column must not be divided by rounding noise.
    expectMatrix(
      new StandardScaler().fitTransform(Array.from({ length: 10 }, () => [0.1])),
      Array.from({ length: 10 }, () => [0]),
    )
  })

  it('leaves out mean or deviation when told', () => {
    expectMatrix(new StandardScaler({ withStd: false }).fitTransform([[1], [3]]), [[-1], [1]])
    expectMatrix(reloaded(new StandardScaler({ withMean: false })).fitTransform([[1], [3]]), [[1], [3]])
  })
})

describe('MinMaxScaler', () => {
  it('brings the range to the one asked for', () => {
    const scaler = new MinMaxScaler({ featureRange: [-1, 1] }).fit([
      [0, 7],
      [10, 7],
      [nan, 7],
    ])
    expectMatrix(
      reloaded(scaler).transform([
        [0, 7],
        [5, 7],
        [20, 8],
      ]),
      [
        [-1, -1],
        [0, -1],
        [3, 1],
      ],
    )
    expectMatrix(
      scaler.inverseTransform([
        [-1, -1],
        [3, -1],
      ]),
      [
        [0, 7],
        [20, 7],
      ],
    )
    expectMatrix(reloaded(new MinMaxScaler({ clip: true }).fit([[0], [10]])).transform([[-5], [20], [nan]]), [
      [0],
      [1],
      [nan],
    ])
    expect(() => new MinMaxScaler({ featureRange: [1, 1] })).toThrow('low < high')
  })
})

describe('RobustScaler', () => {
  it('uses median and quartiles, which an outlier does not move', () => {
    // Sorted 1 2 3 4 1000: median 3, quartiles 2 and 4.
    const scaler = new RobustScaler().fit([[1], [2], [1000], [4], [3], [nan]])
    expectMatrix(reloaded(scaler).transform([[3], [5], [1000]]), [[0], [1], [498.5]])
    // Of four values the quartiles lie between: 1.75 and 3.25.
    expectMatrix(new RobustScaler().fit([[1], [2], [3], [4]]).transform([[4]]), [[1]])
    expectMatrix(new RobustScaler().fitTransform([[2], [2]]), [[0], [0]])
    expect(() => new RobustScaler({ quantileRange: [75, 25] })).toThrow('quantileRange')
  })
})

describe('SimpleImputer', () => {
  it.each([
    ['mean', [1, 2, 6, nan], 3],
    ['median', [1, 2, 6, nan], 2],
    ['median', [1, 2, 3, 6, nan], 2.5],
    ['mostFrequent', [5, 5, 1, 1, 9, nan], 1],
    ['constant', [5, nan], -1],
  ] as const)('fills in the %s', (strategy, column, fill) => {
    const imputer = new SimpleImputer({ strategy, fillValue: -1 }).fit(column.map(v => [v]))
    expectMatrix(reloaded(imputer).transform([[nan], [8], [null]] as number[][]), [[fill], [8], [fill]])
  })

  it('fills text, before an encoder', () => {
    const pipeline = new Pipeline([new SimpleImputer({ strategy: 'mostFrequent' }), new OneHotEncoder()])
    pipeline.fit([['b'], ['a'], ['b'], [null]])
    expectMatrix(reloaded(pipeline).transform([[null], ['a'], [undefined]]), [
      [0, 1],
      [1, 0],
      [0, 1],
    ])
  })

  it('refuses columns without values', () => {
    expect(() => new SimpleImputer().fit([[nan], [null]])).toThrow('column 0 has no value to learn from')
    expect(() => new SimpleImputer({ strategy: 'mode' as never })).toThrow('expected strategy')
    expect(() => new SimpleImputer({ fillValue: nan })).toThrow('finite fillValue')
  })
})

describe('OneHotEncoder', () => {
  it('gives a column for each category, in sorted order, missing last', () => {
    const encoder = new OneHotEncoder().fit([
      ['b', 10],
      ['a', 9],
      [null, 10],
    ])
    expect(encoder.categories).toEqual([
      ['a', 'b', null],
      [9, 10],
    ])
    expect(encoder.featureNames(['s', 'n'])).toEqual(['s=a', 's=b', 's=null', 'n=9', 'n=10'])
    expectMatrix(
      reloaded(encoder).transform([
        ['a', 10],
        [null, 9],
      ]),
      [
        [1, 0, 0, 0, 1],
        [0, 0, 1, 1, 0],
      ],
    )
  })

  it('refuses or ignores what it does not know', () => {
    expect(() => new OneHotEncoder().fit([['a']]).transform([['z']])).toThrow(
      'expected one of "a", got text "z" in row 0',
    )
    expectMatrix(reloaded(new OneHotEncoder({ handleUnknown: 'ignore' }).fit([['a']])).transform([['z']]), [[0]])
    expect(() => new OneHotEncoder({ categories: [['a']] }).fit([['b']])).toThrow('expected one of "a"')
    expect(() => new OneHotEncoder({ categories: [['a', 'a']] }).fit([['a']])).toThrow('categories that differ')
  })

  it('drops first columns when told', () => {
    const x = [
      ['a', 1],
      ['b', 2],
      ['b', 3],
    ]
    expectMatrix(new OneHotEncoder({ drop: 'first' }).fitTransform(x), [
      [0, 0, 0],
      [1, 1, 0],
      [1, 0, 1],
    ])
    const binary = new OneHotEncoder({
      drop: 'ifBinary',
      categories: [
        ['a', 'b'],
        [1, 2, 3],
      ],
    })
    expectMatrix(reloaded(reloaded(binary).fit(x)).transform(x), [
      [0, 1, 0, 0],
      [1, 0, 1, 0],
      [1, 0, 0, 1],
    ])
  })

  it('is not fooled by names of object properties', () => {
    expectMatrix(new OneHotEncoder().fitTransform([['__proto__'], ['constructor']]), [
      [1, 0],
      [0, 1],
    ])
  })
})

describe('LabelEncoder', () => {
  it('numbers classes, and names them again', () => {
    const encoder = new LabelEncoder()
    expect(encoder.fitTransform(['malignant', 'benign', 'malignant'])).toEqual(Int32Array.of(1, 0, 1))
    const back = reloaded(encoder)
    expect(back.classes).toEqual(['benign', 'malignant'])
    expect(back.inverseTransform(Int32Array.of(1, 0))).toEqual(['malignant', 'benign'])
    expect(new LabelEncoder(['z', 'a']).transform(['a'])).toEqual(Int32Array.of(1))
    expect([...new LabelEncoder().fitTransform(Float64Array.of(10, 9))]).toEqual([1, 0])
  })

  it('refuses what is no class', () => {
    const encoder = new LabelEncoder(['a'])
    expect(() => encoder.transform(['b'])).toThrow('expected one of "a", got text "b" in row 0')
    expect(() => encoder.inverseTransform([1])).toThrow('expected a class from 0 to 0, got 1')
    expect(() => encoder.inverseTransform([nan])).toThrow(expect.objectContaining({ code: 'ERR_INDEX' }))
    expect(() => encoder.fit([])).toThrow('at least one label')
    expect(() => encoder.fit(['a', null])).toThrow('expected a label in every row, got null in row 1')
    expect(() => new LabelEncoder().transform(['a'])).toThrow(expect.objectContaining({ code: 'ERR_STATE' }))
  })
})

describe('ColumnTransformer', () => {
  const table = new Table({
    age: Float64Array.of(20, 40, nan),
    sex: ['f', 'm', 'f'],
    weight: Float64Array.of(1, 2, 3),
    name: ['x', 'y', 'z'],
  })
  const make = () =>
    new ColumnTransformer([
      { columns: ['age'], transformer: new Pipeline([new SimpleImputer(), new MinMaxScaler()]) },
      { columns: ['sex'], transformer: new OneHotEncoder() },
      { columns: ['weight'], transformer: 'passthrough' },
    ])

  it('makes a feature matrix of tables, records and one record', async () => {
    const fitted = reloaded(make().fit(table))
    const expected = [
      [0, 1, 0, 1],
      [1, 0, 1, 2],
      [0.5, 1, 0, 3],
    ]
    expectMatrix(fitted.transform(table), expected)
    expect(fitted.featureNames()).toEqual(['age', 'sex=f', 'sex=m', 'weight'])
    const records = await table.toDataset().toArray()
    expectMatrix(make().fit(records).transform(records), expected)
    expect([...fitted.transformRecord({ sex: 'm', age: null, weight: 7, more: 'ignored' })]).toEqual([0.5, 0, 1, 7])
    const mapped = fromItems(records).map(record => fitted.transformRecord(record))
    expect([...(await mapped.at(1))]).toEqual(expected[1])
  })

  it('names what is missing or does not fit', () => {
    const fitted = make().fit(table)
    expect(() => fitted.transform({ age: 1, sex: 'f' })).toThrow('row 0 has no field "weight"; it has age, sex')
    expect(() => fitted.transform({ age: 'old', sex: 'f', weight: 1 })).toThrow(
      'got text "old" in row 0; encode text first (columns: age)',
    )
    expect(() => fitted.transform({ age: 1, sex: 'd', weight: 1 })).toThrow('(columns: sex)')
    expect(() => fitted.transform([])).toThrow('at least one record')
    expect(() => make().transform(table)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }))
    expect(() => new ColumnTransformer([])).toThrow('at least one column')
  })
})

describe('every transformer', () => {
  it.each([StandardScaler, MinMaxScaler, RobustScaler])('%o refuses input that does not fit', Scaler => {
    const scaler = new Scaler()
    expect(() => scaler.transform([[1]])).toThrow('not fitted yet; call fit first')
    expect(() => scaler.fit([])).toThrow(expect.objectContaining({ code: 'ERR_VALUE' }))
    expect(() => scaler.fit([[1, 2], [3]])).toThrow('ragged rows: expected 2 cells as in row 0, got 1 in row 1')
    expect(() => scaler.fit([1, 2] as never)).toThrow('wrap single values')
    expect(() => scaler.fit({ data: new Float32Array(4), shape: [4] })).toThrow(
      'expected shape [rows, columns], got [4]',
    )
    expect(() => scaler.fit([[Infinity]])).toThrow('expected finite numbers or NaN, got Infinity in row 0')
    expect(() => scaler.fit([['a']])).toThrow('column 0: expected numbers, got text "a" in row 0')
    expect(() => scaler.fit([[nan]])).toThrow('column 0 has no value at all')
    expect(() => scaler.fit([[-1.7e308], [1.7e308]])).toThrow('too large')
    expect(() =>
      scaler
        .fit([
          [1, 2],
          [3, 4],
        ])
        .transform([[1]]),
    ).toThrow('expected 2 columns as in fit, got 1')
  })

  it('takes matrices of any dtype', () => {
    expectMatrix(new MinMaxScaler().fitTransform({ data: BigInt64Array.of(1n, 2n, 3n), shape: [3, 1] }), [
      [0],
      [0.5],
      [1],
    ])
    expectMatrix(new MinMaxScaler().fitTransform([Uint8Array.of(0), Uint8Array.of(4)]), [[0], [1]])
  })
})

describe('fromJSON', () => {
  it.each([
    [null, 'expected a saved step, got null'],
    [{}, 'expected kind to be a text, got undefined'],
    [{ kind: 'Evil' }, 'got text "Evil"'],
    [{ kind: 'toString' }, 'expected a step of kind'],
    [{ kind: 'StandardScaler', withMean: 1 }, 'expected withMean to be true or false, got number 1'],
    [{ kind: 'StandardScaler', withMean: true, withStd: true, center: [1], scale: [] }, 'an array of 1 finite numbers'],
    [{ kind: 'StandardScaler', withMean: true, withStd: true, center: [null], scale: [1] }, 'expected center to be'],
    [{ kind: 'SimpleImputer', strategy: 'x' }, 'one of mean, median'],
    [{ kind: 'Pipeline', steps: [{ kind: 'LabelEncoder' }] }, 'a transformer of columns'],
    [{ kind: 'ColumnTransformer', steps: [{ columns: 'age' }] }, 'expected columns to be an array of texts'],
  ])('refuses what is broken (%#)', (saved, message) => {
    expect(() => preprocessing.fromJSON(saved)).toThrow(expect.objectContaining({ code: 'ERR_FORMAT' }))
    expect(() => preprocessing.fromJSON(saved)).toThrow(message)
  })

  it('gives a step of the class that is expected, or refuses', () => {
    const steps = [{ columns: ['age'], transformer: new StandardScaler().fit([[1], [3]]) }]
    const saved = JSON.parse(JSON.stringify(new ColumnTransformer(steps)))
    const features = preprocessing.fromJSON(saved, ColumnTransformer)
    expect(Array.from(features.transformRecord({ age: 3 }))).toEqual([1])
    expect(preprocessing.fromJSON(steps[0]!.transformer.toJSON(), preprocessing.Transformer).kind).toBe(
      'StandardScaler',
    )
    expect(() => preprocessing.fromJSON(saved, StandardScaler)).toThrow(
      expect.objectContaining({
        code: 'ERR_FORMAT',
        message: 'preprocessing: expected a saved StandardScaler, got a ColumnTransformer',
      }),
    )
  })
})
