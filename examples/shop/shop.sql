-- A small shop, for the demo and for trying things out. Every person and card number here is made up.
CREATE TABLE customers (
  id         integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  name       text NOT NULL,
  email      text NOT NULL UNIQUE,
  phone      text,
  card       text,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE products (
  id    integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  title text NOT NULL,
  price numeric(10, 2) NOT NULL
);

CREATE TABLE orders (
  id          integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  customer_id integer NOT NULL REFERENCES customers,
  product_id  integer NOT NULL REFERENCES products,
  quantity    integer NOT NULL DEFAULT 1,
  status      text NOT NULL DEFAULT 'new',
  placed_at   timestamptz NOT NULL DEFAULT now()
);

INSERT INTO customers (name, email, phone, card) VALUES
  ('Ada Lovelace',   'ada@example.com',   '+44 20 7946 0001', '4111 1111 1111 1111'),
  ('Grace Hopper',   'grace@example.org', '+1 202 555 0102',  '5555 5555 5555 4444'),
  ('Alan Turing',    'alan@example.net',  '+44 20 7946 0003', '4012 8888 8888 1881'),
  ('Edsger Dijkstra','edsger@example.nl', '+31 20 555 0104',  '3782 822463 10005');

INSERT INTO products (title, price) VALUES
  ('Difference engine', 4999.00), ('Compiler', 199.50), ('Bombe', 12500.00), ('Semaphore', 12.00);

INSERT INTO orders (customer_id, product_id, quantity, status) VALUES
  (1, 1, 1, 'shipped'), (2, 2, 3, 'new'), (3, 3, 1, 'paid'), (4, 4, 12, 'new'), (2, 4, 2, 'shipped');
