import * as anneal from 'anneal'
import { AnnealError, type DType, dtypes, scope, Tensor, tensor } from 'anneal'
import { Random } from 'anneal/data'
import { expect, test } from 'vitest'

import { type AttributeSchema, native, type OpSchema } from '../../src/native'

// Every op is called with inputs and attributes that mostly make no sense. Whatever comes of it must be a result or an
// AnnealError that says what was wrong: no crash, no hang, no other exception.
const calls = 120

const functions = anneal as unknown as Record<string, (...args: unknown[]) => unknown>
const pick = <T>(random: Random, list: readonly T[]): T => list[random.int(list.length)]!
const integer = (random: Random, low: number, high: number): number => low + random.int(high - low + 1)

function anyTensor(random: Random): Tensor {
  const rank = pick(random, [0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5])
  const shape = Array.from({ length: rank }, () => pick(random, [0, 1, 2, 3, 3, 4, 5, 8]))
  const size = shape.reduce((a, b) => a * b, 1)
  const special = [Number.NaN, Infinity, -Infinity, 0, -0, 1e38, -1e-38]
  const values = Float64Array.from({ length: size }, () =>
    random.float() < 0.1 ? pick(random, special) : integer(random, -3, 6),
  )
  const dtype: DType = random.float() < 0.5 ? 'float32' : pick(random, dtypes)
  let t = tensor(values, { shape, dtype })
  if (rank > 1 && random.float() < 0.3) t = t.permute(shape.map((_, i) => rank - 1 - i))
  return t.dtype.includes('float') && random.float() < 0.3 ? t.detach().requireGrad() : t
}

function anyInput(random: Random, name: string): unknown {
  if (name.endsWith('...')) return Array.from({ length: integer(random, 0, 4) }, () => anyTensor(random))
  if (name.endsWith('?') && random.float() < 0.5) return undefined
  return random.float() < 0.15 ? pick(random, [0, 1, -1, 2.5, Number.NaN, true]) : anyTensor(random)
}

function anyAttribute(random: Random, { type, choices }: AttributeSchema): unknown {
  const number = () => pick(random, [0, 1, 2, 3, -1, -2, 0.5, 7, -9, 1e9, Number.NaN, Infinity, 2 ** 53])
  switch (type) {
    case 'boolean':
      return random.float() < 0.5
    case 'dtype':
      return pick(random, dtypes)
    case 'choice':
      return pick(random, [...choices, 'nonsense'])
    case 'integers':
    case 'numbers':
      return Array.from({ length: integer(random, 0, 5) }, () =>
        random.float() < 0.9 ? integer(random, -2, 5) : number(),
      )
    case 'text':
      return pick(random, ['ij,jk->ik', 'ii', '', 'ij->', '...i,i', '->', 'é', 'i'.repeat(60), 'ab,cd', 'abc->cba'])
    default:
      return random.float() < 0.7 ? integer(random, -2, 5) : number()
  }
}

/** The arguments of a generated function, in its order: inputs, required attributes, optional inputs, options. */
function anyArguments(random: Random, op: OpSchema): unknown[] {
  const [optional, mandatory] = [op.inputs.filter(i => i.endsWith('?')), op.inputs.filter(i => !i.endsWith('?'))]
  const attributes = op.attributes.map((a): [AttributeSchema, unknown] => [a, anyAttribute(random, a)])
  const options = attributes.filter(([a]) => !a.required && random.float() < 0.5).map(([a, v]) => [a.name, v])
  return [
    ...mandatory.map(name => anyInput(random, name)),
    ...attributes.filter(([a]) => a.required).map(([, value]) => value),
    ...optional.map(name => anyInput(random, name)),
    Object.fromEntries(options),
  ]
}

async function outcome(fn: () => unknown): Promise<unknown> {
  try {
    const result = fn()
    const tensors = (Array.isArray(result) ? result : [result]).filter(t => t instanceof Tensor)
    for (const t of tensors) await t.data()
    const float = tensors.find(t => t.requiresGrad)
    if (float) float.sum().backward()
    return undefined
  } catch (error) {
    return error
  }
}

anneal.setMemoryLimit(2 ** 29) // refuses 1e9 elements of any dtype: permuting them takes minutes

for (const op of native.schema().filter(op => !op.internal)) {
  test(op.name, async () => {
    const random = new Random(op.id + 1)
    let successes = 0
    for (let i = 0; i < calls; i++) {
      await scope(async () => {
        const args = anyArguments(random, op)
        const error = await outcome(() => functions[op.name === 'var' ? 'var_' : op.name]!(...args))
        if (error === undefined) successes++
        else if (!(error instanceof AnnealError) || error.code === 'ERR_INTERNAL') {
          expect.fail(
            `${op.name}(${args.map(a => (a instanceof Tensor ? `${a}` : JSON.stringify(a))).join(', ')}): ${error}`,
          )
        }
      })
    }
    expect(successes).toBeGreaterThanOrEqual(0)
  })
}
