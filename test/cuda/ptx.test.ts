// What nvcc and NVRTC make of kernels, as C++ that the emulator runs: what cannot be translated is refused, and the
// instructions compute what the PTX ISA says.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'

const root = join(__dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'anneal-ptx-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Translates a kernel of these statements. */
function translate(statements: string) {
  const [from, to] = ['kernel.ptx', 'kernel.cpp'].map(name => join(folder, name)) as [string, string]
  writeFileSync(
    from,
    `.version 9.0
.target sm_90a
.address_size 64

.visible .entry scale(
	.param .u64 scale_param_0,
	.param .align 4 .b8 scale_param_1[12]
)
.maxntid 128
{
	.reg .pred 	%p<2>;
	.reg .b32 	%r<5>;
	.reg .f32 	%f<3>;
	.reg .b64 	%rd<3>;
	.shared .align 4 .b8 tile[64];
${statements}
	ret;
}
`,
  )
  const script = join(root, 'cuda/emulate/ptx/translate.mjs')
  const { status, stderr } = spawnSync(process.execPath, [script, from, to, 'scale.cu'], { encoding: 'utf8' })
  return { status, stderr, cpp: status === 0 ? readFileSync(to, 'utf8') : '' }
}

describe('the translation of PTX', () => {
  test('has for each instruction a function, and what a launch must hold to', () => {
    const { status, stderr, cpp } = translate(`	ld.param.u64 	%rd1, [scale_param_0];
	mov.u32 	%r1, %tid.x;
	@%p1 bra 	$L__BB0_2;
	fma.rn.f32 	%f1, %f2, 0f3F800000, %f1; // a comment
	st.shared.f32 	[tile+4], %f1;
$L__BB0_2:
	st.global.v2.f32 	[%rd1+8], {%f1, %f2};`)
    expect(status, stderr).toBe(0)
    expect(cpp).toContain('set(_f1, fma_rn<float>(get<float>(_f2), get<float>(0x3F800000u), get<float>(_f1)));')
    expect(cpp).toContain('if (_p1) { goto _L__BB0_2; }')
    expect(cpp).toContain('storeShared<float>(at(1024ull, 4), get<float>(_f1));')
    expect(cpp).toContain('storeGeneric<float>(at(_rd1, 8), get<float>(_f1), get<float>(_f2));')
    // Bytes of shared memory, threads, and the sizes of parameters.
    expect(cpp).toContain('{"scale", kernel0, 64, 128, {8, 12}}')
    expect(cpp).toContain('addTranslated("scale.cu", 90, all)')
  })

  test.each([
    ['tex.2d.v4.f32.s32 {%r1, %r2, %r3, %r4}, [tex, {%r1, %r2}]', 'the operand'],
    ['bar.sync 1, 64', 'bar.sync 1,64'],
    ['cvta.shared.u64 %rd1, %rd2', 'conversion of addresses of shared memory'],
    ['mov.u32 %r1, %clock', 'the operand'],
  ])('refuses %s', (statement, message) => {
    const { status, stderr } = translate(`	${statement};`)
    expect(status).toBe(1)
    expect(stderr).toContain(`kernel.ptx: the emulator does not know: `)
    expect(stderr).toContain(message)
  })

  test('refuses a text that ends within a function', () => {
    const { status, stderr } = translate('	{')
    expect(status).toBe(1)
    expect(stderr).toContain('a function without an end')
  })
})

const folders = ['build-cuda-emulate', 'build-cuda-ptx'].map(name => join(root, name))
if (process.env.ANNEAL_CUDA_PATH) folders.unshift(dirname(process.env.ANNEAL_CUDA_PATH))
const program = folders.map(name => join(name, 'anneal_check_emulator')).find(existsSync)

test.skipIf(program === undefined)('instructions compute what the PTX ISA says', () => {
  const { status, stdout } = spawnSync(program!, ['instructions'], { encoding: 'utf8' })
  expect(status, stdout).toBe(0)
})
