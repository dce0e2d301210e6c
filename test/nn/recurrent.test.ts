import { noGrad, ones, tensor, zeros } from 'anneal'
import * as nn from 'anneal/nn'
import { expect, test } from 'vitest'

test('names and shapes are those of PyTorch', () => {
  const lstm = new nn.LSTM(4, 3, { layers: 2, bidirectional: true })
  const shapes = Object.fromEntries(Array.from(lstm.namedParameters(), ([name, p]) => [name, p.shape]))
  expect(Object.keys(shapes).length).toBe(16)
  expect(shapes.weightIh_l0).toEqual([12, 4])
  expect(shapes.weightIh_l1_reverse).toEqual([12, 6])
  expect(shapes.weightHh_l1).toEqual([12, 3])
  expect(shapes.biasHh_l0_reverse).toEqual([12])
  const [output, [hidden, cell]] = lstm.forward(ones([2, 5, 4]))
  expect([output.shape, hidden.shape, cell.shape]).toEqual([
    [2, 5, 6],
    [4, 2, 3],
    [4, 2, 3],
  ])
})

test('steps past a length leave the state and give zeros', async () => {
  const gru = new nn.GRU(2, 3, { bidirectional: true })
  const x = ones([2, 4, 2])
  const [output, hidden] = noGrad(() => gru.forward(x, undefined, tensor([4n, 2n])))
  const [short, last] = noGrad(() => gru.forward(ones([1, 2, 2])))
  expect(await output.slice([1, 2], [2, 4]).data()).toEqual(new Float32Array(12))
  const near = async (a: typeof x, b: typeof x) =>
    expect((await a.sub(b).abs().max().item()) as number).toBeLessThan(1e-6)
  await near(output.slice([1, 0], [2, 2]), short)
  await near(hidden.slice([0, 1], [2, 2]), last)
})

test('dropout acts between layers, while training', async () => {
  const rnn = new nn.RNN(3, 8, { layers: 2, dropout: 1 })
  const dropped = await rnn.forward(ones([1, 2, 3]))[0].data()
  const other = await rnn.forward(zeros([1, 2, 3]))[0].data()
  expect(dropped).toEqual(other)
  rnn.eval()
  expect(await rnn.forward(ones([1, 2, 3]))[0].data()).not.toEqual(dropped)
})

test('layers are made again from their configuration', () => {
  const lstm = new nn.LSTM(4, 3, { layers: 2, bias: false })
  const again = nn.fromConfig(nn.toConfig(lstm)) as nn.LSTM
  expect(again).toBeInstanceOf(nn.LSTM)
  expect(Object.keys(again.stateDict())).toEqual(Object.keys(lstm.stateDict()))
})

test.each([
  [() => new nn.LSTM(0, 3), 'LSTM: expected inputSize to be a positive integer; got 0'],
  [() => new nn.GRU(2, 3, { dropout: 2 }), 'GRU: expected dropout to be a number from 0 to 1; got 2'],
  [
    () => new nn.RNN(2, 3, { nonlinearity: 'sin' as never }),
    "RNN: expected nonlinearity to be one of tanh, relu; got 'sin'",
  ],
  [
    () => new nn.GRU(2, 3).forward(ones([1, 4, 5])),
    'GRU: expected x of shape [N, T, inputSize] = [1,4,2]; got [1,4,5]',
  ],
  [
    () => new nn.GRU(2, 3).forward(ones([1, 4, 2]), ones([1, 3])),
    'states of shape [layers * directions, N, hiddenSize] = [1,1,3]; got [1,3]',
  ],
  [() => new nn.LSTMCell(2, 3).forward(ones([4])), 'LSTMCell: expected x of shape [N, inputSize] = [4,2]; got [4]'],
])('%#', (call, message) => {
  expect(call as () => unknown).toThrow(message)
})
