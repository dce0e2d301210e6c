import * as anneal from 'anneal'
import { compile, type DType, gradients, noGrad, type Tensor } from 'anneal'
import { expect } from 'vitest'
import * as internal from '../../src/internal.generated'
import { withMode } from '../../src/mode'
import type { OpSchema } from '../../src/native'
import { expectGradient, expectNear, expectTensor, type Tolerance, toleranceOf } from './compare'
import { cotangent, type GoldenCase, type Input, loadAttribute, loadInput } from './golden'
import { permuted, strided } from './views'

type Fn = (...args: unknown[]) => Tensor | Tensor[]

const halves: readonly DType[] = ['float16', 'bfloat16']
const isFloating = (t: Tensor) => t.dtype.includes('float')

/** Calls an op as a user would: inputs, required attributes, optional inputs, options. */
export function callOp(op: OpSchema, inputs: readonly Input[], attrs: Record<string, unknown> = {}): Tensor[] {
  const functions = { ...internal, ...anneal } as unknown as Record<string, Fn>
  const fn = functions[op.name] ?? functions[`${op.name}_`]
  if (!fn) throw new Error(`${op.name}: is not exported`)
  const optional = (i: number) => op.inputs[i]!.endsWith('?')
  const known = new Set(op.attributes.map(a => a.name))
  for (const name of Object.keys(attrs)) if (!known.has(name)) throw new Error(`${op.name}: has no attribute '${name}'`)
  const given = Object.fromEntries(Object.entries(attrs).map(([name, value]) => [name, loadAttribute(value)]))
  const options = Object.fromEntries(
    op.attributes.filter(a => !a.required && a.name in given).map(a => [a.name, given[a.name]]),
  )
  const args = [
    ...op.inputs.flatMap((_, i) => (optional(i) ? [] : [inputs[i]])),
    ...op.attributes.filter(a => a.required).map(a => given[a.name]),
    ...op.inputs.flatMap((_, i) => (optional(i) ? [inputs[i] ?? null] : [])),
    options,
  ]
  return [fn(...args)].flat()
}

function mapTensors(inputs: readonly Input[], f: (t: Tensor) => Tensor): Input[] {
  return inputs.map(x => (Array.isArray(x) ? mapTensors(x, f) : x !== null && typeof x === 'object' ? f(x) : x))
}

function tensorsIn(inputs: readonly Input[]): Tensor[] {
  return inputs.flatMap(x => (Array.isArray(x) ? tensorsIn(x) : x !== null && typeof x === 'object' ? [x] : []))
}

/** Inputs that gradients are collected for, and those among them. */
function leavesOf(inputs: readonly Input[]): { inputs: Input[]; leaves: Tensor[] } {
  const marked = mapTensors(inputs, t => (isFloating(t) ? t.detach().requireGrad() : t))
  return { inputs: marked, leaves: tensorsIn(marked).filter(isFloating) }
}

const loaded = (c: GoldenCase) => c.inputs.map(loadInput)
const title = (c: GoldenCase) => `${c.op}, ${c.dtype}, case ${c.name}`

async function checkForward(op: OpSchema, c: GoldenCase, inputs: readonly Input[], what: string): Promise<void> {
  const outputs = noGrad(() => callOp(op, inputs, c.attrs))
  if (outputs.length !== c.outputs.length)
    throw new Error(`${what}: expected ${c.outputs.length} outputs, got ${outputs.length}`)
  for (const [i, expected] of c.outputs.entries()) {
    await expectTensor(`${what}, output ${i}`, outputs[i]!, expected, toleranceOf(expected.dtype, 1, c))
  }
}

async function checkGradients(op: OpSchema, c: GoldenCase, what: string): Promise<void> {
  if (!c.grads || !c.through) return
  const { inputs, leaves } = leavesOf(loaded(c))
  const outputs = callOp(op, inputs, c.attrs)
  const roots = c.through.map(i => outputs[i]!)
  const seeds = c.through.map(i => cotangent(outputs[i]!, i))
  // Without a record of the gradient itself, its kernels run; with it, their compositions may.
  const alone = gradients(roots, leaves, { gradOutputs: seeds, retainGraph: true })
  const first = c.seconds ? gradients(roots, leaves, { gradOutputs: seeds, createGraph: true }) : alone
  // Composed gradients round to 16 bits several times.
  const tolerance = toleranceOf(c.dtype, halves.includes(c.dtype) ? 8 : 4, c)
  for (const [i, expected] of c.grads.entries()) {
    await expectGradient(`${what}, gradient of input ${i}`, alone[i], expected, tolerance)
    await expectGradient(`${what}, recorded gradient of input ${i}`, first[i], expected, tolerance)
  }
  if (!c.seconds) return
  const used = first.flatMap((g, i) => (g?.requiresGrad ? [{ g, seed: cotangent(g, 50 + i) }] : []))
  const second = used.length
    ? gradients(
        used.map(u => u.g),
        leaves,
        { gradOutputs: used.map(u => u.seed) },
      )
    : []
  for (const [i, expected] of c.seconds.entries()) {
    await expectGradient(
      `${what}, second gradient of input ${i}`,
      second[i],
      expected,
      toleranceOf(c.dtype, 20, { rtol: (c.rtol ?? 0) * 5, atol: (c.atol ?? 0) * 5 }),
    )
  }
}

/** The sum of the outputs that gradients flow through, weighted by the cotangents, with every leaf moved by `step`. */
async function weighted(op: OpSchema, c: GoldenCase, directions: Tensor[], step: number): Promise<number> {
  let next = 0
  const moved = mapTensors(loaded(c), t => (isFloating(t) ? t.add(directions[next++]!.mul(step)) : t))
  const outputs = noGrad(() => callOp(op, moved, c.attrs))
  let total = 0
  for (const i of c.through!) {
    const [y, weight] = await Promise.all([outputs[i]!.data(), cotangent(outputs[i]!, i).data()])
    for (let k = 0; k < y.length; k++) total += Number(y[k]) * Number(weight[k])
  }
  return total
}

/** Compares the gradient along two directions with central differences, in float64. */
async function checkDifferences(op: OpSchema, c: GoldenCase): Promise<void> {
  const { inputs, leaves } = leavesOf(loaded(c))
  const outputs = callOp(op, inputs, c.attrs)
  const grads = gradients(
    c.through!.map(i => outputs[i]!),
    leaves,
    { gradOutputs: c.through!.map(i => cotangent(outputs[i]!, i)) },
  )
  const h = 1e-6
  for (const salt of [3, 8]) {
    const directions = leaves.map((t, i) => cotangent(t, salt + i))
    let slope = 0
    for (const [i, g] of grads.entries()) {
      const [values, along] = await Promise.all([g?.data(), directions[i]!.data()])
      for (let k = 0; values && k < values.length; k++) slope += Number(values[k]) * Number(along[k])
    }
    const measured = ((await weighted(op, c, directions, h)) - (await weighted(op, c, directions, -h))) / (2 * h)
    expectNear(`${title(c)}, finite differences`, [slope], [measured], { rtol: 1e-5, atol: 1e-6 })
  }
}

/** Everything that is asked of an op, for one golden case. */
/**
 * A captured graph gives the same bits as the calls one by one, gradients included. Where elementwise operations were joined,
 * vector code may stand where scalar code did, which rounds differently in the last places.
 */
async function checkCaptured(op: OpSchema, c: GoldenCase): Promise<void> {
  const whole = (inputs: readonly Input[]) => {
    const { inputs: marked, leaves } = leavesOf(inputs)
    const outputs = callOp(op, marked, c.attrs)
    if (!c.grads || !c.through) return outputs
    const roots = c.through.map(i => outputs[i]!)
    const grads = gradients(roots, leaves, { gradOutputs: roots.map((t, i) => cotangent(t, c.through![i]!)) })
    return [...outputs, ...grads]
  }
  const captured = compile(whole as (inputs: unknown) => ReturnType<typeof whole>)
  const inputs = loaded(c)
  const expected = whole(inputs)
  const { operations } = await captured.explain(inputs)
  const joined = operations.some(o => o.name === 'fusedElementwise')
  const got = captured(inputs)
  for (const [i, t] of expected.entries()) {
    const what = `${title(c)}, captured, result ${i}`
    expect(got[i] === undefined, what).toBe(t === undefined)
    if (!t) continue
    expect([got[i]!.dtype, ...got[i]!.shape], what).toEqual([t.dtype, ...t.shape])
    expectNear(what, await got[i]!.data(), await t.data(), joined ? lastPlaces(t.dtype) : { rtol: 0, atol: 0 })
  }
  captured.dispose()
}

function lastPlaces(dtype: DType): Tolerance {
  return dtype === 'float64' ? { rtol: 1e-14, atol: 1e-15 } : { rtol: 5e-7, atol: 1e-8 }
}

export async function checkCase(op: OpSchema, c: GoldenCase): Promise<void> {
  await checkForward(op, c, loaded(c), title(c))
  await checkGradients(op, c, title(c))
  if (c.views !== false) {
    await checkForward(op, c, mapTensors(loaded(c), permuted), `${title(c)}, permuted inputs`)
    await checkForward(op, c, mapTensors(loaded(c), strided), `${title(c)}, strided inputs`)
  }
  await checkCaptured(op, c)
  if (c.differences) await checkDifferences(op, c)
  if (op.lowered && op.kernels.includes('cpu')) {
    await withMode({ lower: true }, async () => {
      await checkForward(op, c, loaded(c), `${title(c)}, lowered`)
      await checkGradients(op, c, `${title(c)}, lowered`)
    })
  }
}
