import { describe, expect, it } from 'vitest';
import { endpointAddress } from '../../../../deploy/grafana/endpoint/address.ts';

describe('--grafana HOST:PORT', () => {
  it('is this machine’s', () => {
    expect(endpointAddress('127.0.0.1:8123')).toEqual({ host: '127.0.0.1', port: 8123 });
    expect(endpointAddress('localhost:0')).toEqual({ host: 'localhost', port: 0 });
    expect(endpointAddress('[::1]:8123')).toEqual({ host: '::1', port: 8123 });
  });

  it.each(['0.0.0.0:8123', '[::]:8123', '10.0.0.1:8123', 'grafana.example:8123', '127.0.0.1.x:1'])(
    'is refused beyond it: %s',
    (text) => expect(() => endpointAddress(text)).toThrow('listens on 127.0.0.1'),
  );

  it.each([
    '',
    '8123',
    '127.0.0.1',
    '127.0.0.1:',
    ':8123',
    '127.0.0.1:99999',
    '127.0.0.1:x',
    '::1:1',
  ])('is refused unread: %s', (text) =>
    expect(() => endpointAddress(text)).toThrow(/HOST:PORT|65535/),
  );
});
