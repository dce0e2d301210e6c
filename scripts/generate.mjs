// Writes src/ops.generated.ts from the native registry: a function for every op, and a method of Tensor for most.
// Internal ops go to src/internal.generated.ts.
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const root = new URL('..', import.meta.url)
const addonPath = process.argv[2] ?? fileURLToPath(new URL('build/Release/anneal.node', root))
const native = createRequire(import.meta.url)(addonPath)

const types = {
  boolean: 'boolean',
  integer: 'number',
  number: 'number',
  dtype: 'DType',
  integers: 'readonly number[] | number',
  numbers: 'readonly number[] | number',
  text: 'string',
  key: 'Tensor',
}
const putters = {
  boolean: 'putBoolean',
  integer: 'putNumber',
  number: 'putNumber',
  dtype: 'putDType',
  integers: 'putNumbers',
  numbers: 'putNumbers',
  text: 'putText',
  choice: 'putChoice',
}
const reserved = new Set(['delete', 'new', 'in', 'function', 'var', 'default', 'switch', 'case', 'if', 'else', 'with'])

const identifier = name => (reserved.has(name) ? `${name}_` : name)
const capital = name => name[0].toUpperCase() + name.slice(1)
const typeOf = a => (a.type === 'choice' ? a.choices.map(c => `'${c}'`).join(' | ') : types[a.type])
// "[a, b]: c" would be read as the definition of a link.
const comment = (text, indent = '') =>
  `${indent}/** ${text.replaceAll('*/', '*\\/').replaceAll(']:', ']\\:').replaceAll('\n', `\n${indent} * `)} */\n`

function parameterOf(input) {
  if (input.endsWith('...')) return { name: input.slice(0, -3), type: 'readonly TensorLike[]', put: 'putInputs' }
  if (input.endsWith('?'))
    return { name: input.slice(0, -1), type: 'TensorLike | null', put: 'putOptional', optional: true }
  return { name: input, type: 'TensorLike', put: 'putInput' }
}

/** Random ops take their key, which is drawn when absent, as an option. */
const keyOption = {
  name: 'key',
  doc: 'seed and offset of the random numbers: two int64',
  type: 'key',
  default: 'drawn',
}

/** The signature and body of one op: inputs, then required attributes, then an object of options. */
function shape(op) {
  const keyed = op.inputs.at(-1) === 'key?'
  const inputs = op.inputs.slice(0, keyed ? -1 : undefined).map(parameterOf)
  const required = op.attributes.filter(a => a.required)
  const options = [...op.attributes.filter(a => !a.required), ...(keyed ? [keyOption] : [])]
  const optionsType = options.length ? `${capital(op.name)}Options` : undefined
  const mandatory = inputs.filter(i => !i.optional)
  const optional = inputs.filter(i => i.optional)
  const parameters = [
    ...mandatory.map(i => `${identifier(i.name)}: ${i.type}`),
    ...required.map(a => `${identifier(a.name)}: ${typeOf(a)}`),
    ...optional.map(i => `${identifier(i.name)}?: ${i.type}`),
    ...(optionsType ? [`options?: ${optionsType}`] : []),
  ]
  const names = parameters.map(p => p.split(/[?:]/)[0])
  const variadic = op.outputs.length > 1 || op.outputs[0].endsWith('...')
  const result = !variadic
    ? 'Tensor'
    : op.outputs[0].endsWith('...')
      ? 'Tensor[]'
      : `[${op.outputs.map(o => `${identifier(o)}: Tensor`).join(', ')}]`
  return { inputs, keyed, options, optionsType, parameters, names, result, variadic }
}

function documentation(op) {
  const lines = [op.doc]
  for (const a of op.attributes.filter(a => a.required)) lines.push(`@param ${identifier(a.name)} ${a.doc}`)
  if (op.gradient === 'nonDifferentiable') lines.push('Not differentiable.')
  return comment(lines.join('\n'))
}

function optionsInterface({ name }, { options, optionsType }) {
  if (!optionsType) return ''
  const fields = options.map(
    a => `${comment(`${capital(a.doc)}. Default: ${a.default || 'none'}.`, '  ')}  ${a.name}?: ${typeOf(a)}\n`,
  )
  return `${comment(`Options of {@link ${identifier(name)}}.`)}export interface ${optionsType} {\n${fields.join('')}}\n\n`
}

function put(op, attribute) {
  const value = attribute.required ? identifier(attribute.name) : `options?.${attribute.name}`
  const choices = attribute.type === 'choice' ? `, [${attribute.choices.map(c => `'${c}'`).join(', ')}]` : ''
  return `  $ = ${putters[attribute.type]}($, ${value}${choices}, '${op.name}: ${attribute.name}')\n`
}

function functionOf(op) {
  const s = shape(op)
  const known = s.options.map(o => `'${o.name}'`).join(', ')
  const body = [
    ...(known ? [`  if (options !== undefined) checkOptions('${op.name}', options, [${known}])\n`] : []),
    '  let $ = begin()\n',
    ...s.inputs.map(i => `  $ = ${i.put}($, ${identifier(i.name)}, '${op.name}: ${i.name}')\n`),
    ...(s.keyed ? [`  $ = putOptional($, options?.key, '${op.name}: key')\n`] : []),
    ...op.attributes.map(a => put(op, a)),
  ].join('')
  const call = s.variadic ? `runAll(${op.id}) as ${s.result}` : `run(${op.id})`
  return `${optionsInterface(op, s)}${documentation(op)}export function ${identifier(op.name)}(${s.parameters.join(', ')}): ${s.result} {\n${body}  return ${call}\n}\n\n`
}

function methodOf(op) {
  const s = shape(op)
  const own = s.names[0]
  const rest = s.parameters.slice(1)
  return {
    declaration: `${documentation(op).replaceAll(/^(?=.)/gm, '    ')}    ${op.name}(${rest.join(', ')}): ${s.result}\n`,
    definition: `  ${op.name}(${['this: Tensor', ...rest].join(', ')}) {\n    return ${identifier(op.name)}(${s.names.map(n => (n === own ? 'this' : n)).join(', ')})\n  },\n`,
  }
}

const ops = native.schema()
const isMethod = op => op.method && op.inputs.length > 0 && !op.inputs[0].endsWith('...') && !op.internal
const methods = ops.filter(isMethod).map(methodOf)
const runners = [
  'begin',
  'checkOptions',
  'putBoolean',
  'putChoice',
  'putDType',
  'putInput',
  'putInputs',
  'putNumber',
  'putNumbers',
  'putOptional',
  'putText',
  'run',
  'runAll',
]

/** A module with a function for each of `ops`. */
function moduleOf(ops, tensorImport) {
  const text = ops.map(functionOf).join('')
  const used = runners.filter(name => text.includes(`${name}(`))
  return `// Generated from the native registry by scripts/generate.mjs. Not to be edited or committed.
import { ${used.join(', ')}, type TensorLike } from './call'
${/\bDType\b/.test(text) ? "import type { DType } from './dtype'\n" : ''}import ${tensorImport}

${text}`
}

const methodsText = `declare module './tensor' {
  interface Tensor {
${methods.map(m => m.declaration).join('')}  }
}

Object.assign(Tensor.prototype, {
${methods.map(m => m.definition).join('')}})
`

function write(name, source) {
  const target = new URL(`src/${name}.generated.ts`, root)
  let before = ''
  try {
    before = readFileSync(target, 'utf8')
  } catch {
    // not generated yet
  }
  if (before !== source) writeFileSync(target, source)
}

write(
  'ops',
  moduleOf(
    ops.filter(op => !op.internal),
    "{ Tensor } from './tensor'",
  ) + methodsText,
)
// Ops that serve gradients and wrappers: not offered to users, so not exported from the package.
write(
  'internal',
  moduleOf(
    ops.filter(op => op.internal),
    "type { Tensor } from './tensor'",
  ),
)
