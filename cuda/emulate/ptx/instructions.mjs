// What the instructions of PTX are in C++; what they compute is in machine.h and numbers.h.
import { cpp, elements, split, types, unknown } from './words.mjs'

/** The name of a function for those of which C++ has a meaning of its own. */
export const safe = name =>
  ['and', 'or', 'xor', 'not', 'div', 'abs', 'min', 'max', 'add', 'sub'].includes(name) ? `${name}_` : name

/** Instructions whose operands have different types. */
export const handlers = {
  setp([cmp, type], [d, a, b]) {
    this.emit(`${this.bits(d)} = setp_${cmp}(${this.get(type, a)}, ${this.get(type, b)});`)
  },
  selp([type], [d, a, b, p]) {
    this.emit(`set(${this.bits(d)}, ${this.bits(p)} ? ${this.get(type, a)} : ${this.get(type, b)});`)
  },
  shl([type], [d, a, b]) {
    this.emit(`set(${this.bits(d)}, shl(${this.get(type, a)}, ${this.get('u32', b)}));`)
  },
  shr([type], [d, a, b]) {
    this.emit(`set(${this.bits(d)}, shr(${this.get(type, a)}, ${this.get('u32', b)}));`)
  },
  bfi([type], [d, a, b, from, length]) {
    const [first, second] = [a, b].map(v => this.get(type, v))
    this.emit(`set(${this.bits(d)}, bfi(${first}, ${second}, ${this.get('u32', from)}, ${this.get('u32', length)}));`)
  },
  mad(mods, [d, a, b, c]) {
    const type = mods.at(-1)
    const wide = mods[0] === 'wide' ? type.replace('32', '64').replace('16', '32') : type
    const carry = mods.includes('cc') ? 'carry, ' : ''
    const name = ['mad', ...mods.slice(0, -1)].join('_')
    this.emit(
      `set(${this.bits(d)}, ${name}(${carry}${this.get(type, a)}, ${this.get(type, b)}, ${this.get(wide, c)}));`,
    )
  },
  cvt(mods, o) {
    const [result, argument] = mods.slice(-2)
    const how = mods.slice(0, -2).filter(m => m !== 'ftz' && m !== 'sat' && m !== 'satfinite')
    if (o.length === 3) {
      this.emit(`set(${this.bits(o[0])}, cvt_${result}(${this.get(argument, o[1])}, ${this.get(argument, o[2])}));`)
      return
    }
    const mode = `Round::${how[0] ?? 'none'}, ${mods.includes('sat')}`
    this.emit(
      `set(${this.bits(o[0])}, cvt<${types[result]}, ${types[argument]}, ${mode}>(${this.get(argument, o[1])}));`,
    )
  },
  mov([type], [d, a]) {
    if (d.startsWith('{')) this.emit(`unpack(${this.bits(a)}, ${this.list(d)});`)
    else if (a.startsWith('{')) this.emit(`pack(${this.bits(d)}, ${this.list(a)});`)
    else this.emit(`set(${this.bits(d)}, ${this.get(type, a)});`)
  },
  cvta(mods, [d, a]) {
    if (mods.includes('shared')) unknown('conversion of addresses of shared memory')
    this.emit(`set(${this.bits(d)}, ${this.get('u64', a)});`)
  },
  ld(mods, [d, a]) {
    const space = mods.includes('shared') ? 'Shared' : 'Generic'
    const type = types[mods.at(-1)]
    this.emit(`load${space}<${type}>(${this.place(a)}, ${this.list(d)});`)
  },
  st(mods, [a, v]) {
    const space = mods.includes('shared') ? 'Shared' : 'Generic'
    const type = mods.at(-1)
    this.emit(
      `store${space}<${types[type]}>(${this.place(a)}, ${elements(v)
        .map(e => this.get(type, e))
        .join(', ')});`,
    )
  },
  atom(mods, [d, a, ...v]) {
    const [space, what, type] = mods
    const at = `pointer${space === 'shared' ? 'Shared' : 'Generic'}<${types[type]}>(${this.place(a)})`
    this.emit(`set(${this.bits(d)}, atom_${what}(${at}, ${v.map(e => this.get(type, e)).join(', ')}));`)
  },
  bra(_, [label]) {
    this.emit(`goto ${cpp(label)};`)
  },
  ret() {
    this.emit('return;')
  },
  call(_, [result, name, parameters]) {
    const all = [result, parameters].flatMap(list => split(list.slice(1, -1)))
    this.emit(`${cpp(name)}(${all.map(p => this.parameters.get(p)).join(', ')});`)
  },
  bar(mods, o) {
    if (mods[0] === 'warp') return this.emit(`syncWarp(${this.get('u32', o[0])});`)
    if (mods[0] === 'sync' && o[0] === '0' && o.length === 1) return this.emit('syncBlock();')
    if (mods[0] === 'red' && mods[1] === 'or' && o[1] === '0')
      return this.emit(`${this.bits(o[0])} = countBlock(${this.get('pred', o[2])}) != 0;`)
    unknown(`bar.${mods.join('.')} ${o}`)
  },
  shfl([, how], [d, a, b, c, mask]) {
    const [to, inside] = d.split('|')
    const call = `shfl_${how}(${[a, b, c, mask].map(v => this.get('u32', v)).join(', ')})`
    this.emit(
      `{ const Shuffled got = ${call}; set(${this.bits(to)}, got.value); ${inside ? `${this.bits(inside)} = got.inside; ` : ''}}`,
    )
  },
  match(_, [d, a, mask]) {
    this.emit(`set(${this.bits(d)}, match(${this.get('u32', mask)}, ${this.get('u32', a)}));`)
  },
  popc([type], [d, a]) {
    this.emit(`set(${this.bits(d)}, uint32_t(std::popcount(${this.get(type, a)})));`)
  },
  clz([type], [d, a]) {
    this.emit(`set(${this.bits(d)}, uint32_t(std::countl_zero(${this.get(type, a)})));`)
  },
  ldmatrix(mods, [d, a]) {
    if (!mods.includes('x4')) unknown(`ldmatrix.${mods.join('.')}`)
    this.emit(`ldmatrix(${this.place(a)}, ${mods.includes('trans')}, ${this.list(d)});`)
  },
  mma(mods, [d, a, b, c]) {
    if (!mods.includes('m16n8k16') || !mods.includes('row') || !mods.includes('col')) unknown(`mma.${mods.join('.')}`)
    const [ds, as, bs, cs] = [d, a, b, c].map(list => this.list(list))
    this.emit(`{ float sum[4] = {GET4F(${cs})}; const uint32_t rows[4] = {${as}};`)
    this.emit(`  multiplyAdd<${mods.includes('bf16') ? 'BFloat16' : 'Half'}>(sum, rows, ${bs}); SET4F(sum, ${ds}); }`)
  },
  cp([, what, ...mods], o) {
    if (what === 'commit_group') return this.emit('commitCopies();')
    if (what === 'wait_group') return this.emit(`waitCopies(${o[0]});`)
    if (mods.join('.') !== 'shared.global' || o[2] !== '16') unknown(`cp.async.${what}.${mods.join('.')} ${o}`)
    this.emit(`copy16(${this.place(o[0])}, ${this.place(o[1])}, ${this.get('u32', o[3] ?? '16')});`)
  },
  wgmma([what, ...mods], o) {
    if (what === 'fence') return this.emit('fenceOperands();')
    if (what === 'commit_group') return this.emit('commitProducts();')
    if (what === 'wait_group') return this.emit(`waitProducts(${o[0]});`)
    const columns = Number(/m64n(\d+)k16/.exec(mods.join('.'))[1])
    const registers = elements(o[0]).map(e => this.bits(e))
    const [a, b, accumulate, scaleA, scaleB, ...transposed] = o.slice(1)
    if (scaleA !== '1' || scaleB !== '1') unknown(`wgmma with factors ${scaleA}, ${scaleB}`)
    const inRegisters = a.startsWith('{')
    if (!inRegisters && transposed[0] !== '0') unknown('wgmma with A by columns')
    const left = inRegisters ? `{${this.list(a)}}` : '{}'
    this.emit(
      `{ uint32_t* const sums[] = {${registers.map(r => `&${r}`).join(', ')}}; const uint32_t left[4] = ${left};`,
    )
    this.emit(
      `  wgmma(sums, ${columns}, ${accumulate} != 0, ${inRegisters ? 'left' : 'nullptr'}, ${inRegisters ? '0' : this.bits(a)}, ` +
        `${this.bits(b)}, ${transposed.at(-1)} != 0, ${mods.includes('bf16')}); }`,
    )
  },
  fence(mods) {
    if (mods.join('.') !== 'proxy.async.shared::cta') unknown(`fence.${mods.join('.')}`)
    this.emit('fenceAsync();')
  },
  membar() {}, // blocks here see each other's writes in the order in which they were made
}
for (const op of ['add', 'addc', 'sub', 'subc', 'madc']) {
  handlers[op] = function (mods, [d, ...rest]) {
    const type = mods.at(-1)
    const name = [op, ...mods.slice(0, -1)].join('_')
    const carry = op.endsWith('c') || mods.includes('cc') ? ['carry'] : []
    const values = [...carry, ...rest.map(a => this.get(type, a))]
    this.emit(`set(${this.bits(d)}, ${safe(name)}<${types[type]}>(${values.join(', ')}));`)
  }
}
