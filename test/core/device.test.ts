import { spawnSync } from 'node:child_process'
import { devices, getDevice, memory, nn, setDevice, tensor } from 'anneal'
import { describe, expect, test } from 'vitest'
import { testDevice } from '../support/device'
import { codeOf } from '../support/thrown'

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

const gpus = testDevice === 'cpu' ? [] : devices().filter(d => d.name !== 'cpu')

describe.skipIf(gpus.length < 2)('from one GPU to another', () => {
  test('values of any dtype and layout', async () => {
    for (const dtype of ['float32', 'float64', 'bfloat16', 'int8', 'int64', 'bool'] as const) {
      const x = tensor([0, 1, 1, 3, 5, 8], { shape: [2, 3], device: 'cuda:0', dtype })
      const moved = x.transpose(0, 1).to('cuda:1')
      expect(moved.device).toBe('cuda:1')
      expect(await moved.data(), dtype).toEqual(await x.transpose(0, 1).data())
      expect(await x.slice([1], [2]).to('cuda:1').data(), dtype).toEqual(await x.slice([1], [2]).data())
    }
    expect(
      (
        await tensor([], { shape: [0, 3], device: 'cuda:0' })
          .to('cuda:1')
          .data()
      ).length,
    ).toBe(0)
  })

  test('in the order of what both compute, to and fro, while memory is used again', async () => {
    const n = 100_001
    let x = tensor(new Float32Array(n).fill(1), { device: 'cuda:0' })
    for (let i = 0; i < 40; i++) {
      const moved = x.add(1).to(i % 2 ? 'cuda:0' : 'cuda:1')
      const before = x
      x = moved.mul(0.5)
      before.dispose()
      moved.dispose()
      tensor(new Float32Array(n).fill(-7), { device: i % 2 ? 'cuda:1' : 'cuda:0' }).dispose()
    }
    const values = await x.data()
    expect(new Set(values as Float32Array)).toEqual(new Set([1]))
  })

  test('gradients flow back', async () => {
    const x = tensor([1, 2, 3], { device: 'cuda:0', requiresGrad: true })
    const y = x.to('cuda:1')
    y.mul(y).sum().backward()
    expect(x.grad!.device).toBe('cuda:0')
    expect([...(await x.grad!.data())]).toEqual([2, 4, 6])
  })

  test('what went wrong on the first is heard of on the second', async () => {
    const x = tensor([1, 2, 3], { device: 'cuda:0' })
    const wrong = x.indexSelect(tensor([7], { dtype: 'int64', device: 'cuda:0' }), 0).to('cuda:1')
    await expect(wrong.add(1).data()).rejects.toMatchObject({ code: 'ERR_INDEX' })
    expect([...(await x.to('cuda:1').data())]).toEqual([1, 2, 3])
  })

  test('a device that is not there is named', () => {
    const x = tensor([1], { device: 'cuda:0' })
    expect(() => x.to(`cuda:${gpus.length}`)).toThrow(`'cuda:${gpus.length}' does not exist: this machine has`)
    expect(() => x.add(tensor([1], { device: 'cuda:1' }))).toThrow(/different devices.*cuda:[01].*to\(\)/)
  })
})
