import { spawnSync } from 'node:child_process'
import { devices, getDevice, memory, nn, setDevice, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { testDevice } from '../support/device'

const codeOf = (run: () => unknown) => {
  try {
    run()
  } catch (error) {
    return (error as { code: string }).code
  }
  return undefined
}

describe('devices', () => {
  test('the cpu is always there', () => {
    expect(devices()[0]).toEqual({ name: 'cpu', hardware: 'cpu' })
    expect(tensor([1, 2], { device: 'cpu' }).device).toBe('cpu')
    expect(memory('cpu').limit).toBeGreaterThan(0)
  })

  test('names that are none are refused', () => {
    for (const name of ['gpu', 'cuda:', 'cuda:x', 'cuda:-1', 'CPU'] as unknown as 'cpu'[]) {
      expect(
        codeOf(() => setDevice(name)),
        name,
      ).toBe('ERR_DEVICE')
      expect(
        codeOf(() => tensor([1]).to(name)),
        name,
      ).toBe('ERR_DEVICE')
    }
    expect(codeOf(() => setDevice('cuda:99'))).toBe('ERR_DEVICE')
  })

  test('a device that cannot be had says why and what to do', () => {
    const script = `
      const { loadNative } = require('./dist/load')
      const native = loadNative()
      native.bind(new Float64Array(4096))
      console.log(native.device('cuda') === undefined, native.lastError().code, native.lastError().message)
      console.log(native.device('auto'))`
    const { stdout } = spawnSync(process.execPath, ['-e', script], {
      encoding: 'utf8',
      env: { ...process.env, ANNEAL_CUDA_PATH: '/nowhere/libanneal_cuda.so' },
    })
    expect(stdout).toMatch(/^true ERR_DEVICE device 'cuda' is not available: .*nowhere.*ANNEAL_CUDA_PATH/)
    expect(stdout).toMatch(/^cpu$/m)
  })
})

describe(`moving to ${testDevice}`, () => {
  test('values come and go, of any dtype and layout', async () => {
    for (const dtype of ['float32', 'float64', 'bfloat16', 'int8', 'int64', 'bool'] as const) {
      const x = tensor([0, 1, 1, 3, 5, 8], { shape: [2, 3], device: 'cpu', dtype })
      const moved = x.to(testDevice)
      expect(await moved.to('cpu').data(), dtype).toEqual(await x.data())
      expect(await x.transpose(0, 1).to(testDevice).data(), dtype).toEqual(await x.transpose(0, 1).data())
      expect(await moved.transpose(0, 1).to('cpu').data(), dtype).toEqual(await x.transpose(0, 1).data())
    }
    expect(
      (
        await tensor([], { shape: [0, 3], device: 'cpu' })
          .to(testDevice)
          .to('cpu')
          .data()
      ).length,
    ).toBe(0)
  })

  test('large values pass whole', async () => {
    const values = Float32Array.from({ length: 3_000_001 }, (_, i) => i)
    const x = tensor(values, { device: 'cpu' })
    expect(Buffer.from((await x.to(testDevice).data()).buffer).equals(Buffer.from(values.buffer))).toBe(true)
    const computed = x.mul(2).to(testDevice).to('cpu').mul(0.5)
    expect(Buffer.from((await computed.data()).buffer).equals(Buffer.from(values.buffer))).toBe(true)
  })

  test('gradients flow back to where the input is', async () => {
    const x = tensor([1, 2, 3], { device: 'cpu', requiresGrad: true })
    const y = x.to(testDevice)
    y.mul(y).sum().backward()
    expect(x.grad!.device).toBe('cpu')
    expect([...(await x.grad!.data())]).toEqual([2, 4, 6])
  })

  test('a module moves with all that it has', async () => {
    const before = getDevice()
    setDevice('cpu')
    const norm = new nn.BatchNorm1d(3)
    const x = tensor([[1, 2, 3]])
    const expected = await norm.eval().forward(x).data()
    norm.to(testDevice)
    setDevice(before)
    for (const cell of [...norm.parameters(), ...norm.buffers()]) {
      if (cell.ndim > 0) expect(cell.device.slice(0, 4)).toBe(testDevice.slice(0, 4))
    }
    const got = await norm.forward(x.to(testDevice)).data()
    for (const [i, v] of Array.from(expected, Number).entries()) expect(Number(got[i])).toBeCloseTo(v, 5)
  })

  test.skipIf(testDevice === 'cpu')('inputs on two devices are refused, numbers are not', async () => {
    const [a, b] = [tensor([1, 2], { device: 'cpu' }), tensor([1, 2], { device: testDevice })]
    expect(() => a.add(b)).toThrow(/different devices.*to\(\)/)
    expect([...(await b.add(1).data())]).toEqual([2, 3])
  })
})
